"""How Schemathesis is run: by tests/test_schemathesis.py a little, by bench/fuzz.py in full."""

import sys
from pathlib import Path

PHASES = "examples,coverage,fuzzing,stateful"
ROLES = ("owner", "coach", "client", "anonymous")
# They would end the session that the others are tried with: Schemathesis takes ids from answers, its own among them.
ENDS_ITSELF = ("post_logout", "post_logout_all", "delete_device", "post_user_logout_all")
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
    "allow_header_conformance", "use_after_free", "ensure_resource_availability", "ignored_auth",
)  # fmt: skip
# Left out: positive_data_acceptance, because what a schema can't say (a client that exists, a slot that is free, a
# password that nobody guesses) is refused; object_level_authorization, which tests/test_id_slots.py does of its own.


def command(
    url: str, token: str | None, *, seed: int, examples: int, phases: str = PHASES, workers: int = 2
) -> list[str]:
    """Of one run of Schemathesis, as whoever has `token`."""
    return [
        str(Path(sys.executable).parent / "schemathesis"), "--no-color", "run", f"{url}/openapi.json",
        f"--phases={phases}", f"--seed={seed}", f"--max-examples={examples}",
        f"--workers={workers}", f"--checks={','.join(CHECKS)}", "--continue-on-failure", "--warnings=off",
        "--suppress-health-check=all", "--generation-with-security-parameters=false", "--generation-database=none",
        "--request-timeout=20",
        *(f"--exclude-operation-id={name}" for name in ENDS_ITSELF),
        *([f"--header=Authorization: Bearer {token}"] if token else []),
    ]  # fmt: skip

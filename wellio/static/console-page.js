// The page's parts ([data-part]): whatever can be rendered on the server is fetched from there again and swapped in,
// so that there is one way of rendering it.

const REFRESH_MS = 1000;
const LIT_MS = 2500;
let refreshing = null;
let refreshAgain = false;
let lastRefresh = 0;
// Part → its HTML as the server last sent it.
const served = new Map([...document.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part.innerHTML]));
const changed = new Set(); // clients whose row is to light up
const afterSwap = [];

export const byId = (id) => document.getElementById(id);

/** `act(page)` is called with each page that was fetched, after its parts have been swapped in. */
export const onSwap = (act) => afterSwap.push(act);

/** The page at an address, as the server makes it now. */
export async function fetchPage(address) {
  const response = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (response.redirected) location.assign(response.url); // the session has ended
  if (!response.ok || response.redirected) throw new Error(`page: ${response.status}`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/** Swaps in what the server says now, at most once a second however much happens. */
export function refresh() {
  if (refreshing) {
    refreshAgain = true;
    return;
  }
  const wait = Math.max(0, lastRefresh + REFRESH_MS - Date.now());
  refreshing = setTimeout(async () => {
    try {
      swapParts(await fetchPage(location.href));
    } catch { /* offline: the next connection refreshes */ }
    lastRefresh = Date.now();
    refreshing = null;
    if (refreshAgain) {
      refreshAgain = false;
      refresh();
    }
  }, wait);
}

/** Puts a fetched page's parts in the place of those that have changed. */
export function swapParts(page) {
  const focused = document.activeElement?.id;
  const before = rowPlaces();
  for (const part of page.querySelectorAll("[data-part]")) {
    const old = document.querySelector(`[data-part="${part.dataset.part}"]`);
    const html = part.innerHTML;
    if (old && served.get(part.dataset.part) !== html) old.replaceWith(part);
    served.set(part.dataset.part, html);
  }
  if (focused && !document.activeElement?.id) byId(focused)?.focus();
  showChanges(before);
  for (const act of afterSwap) act(page);
}

/** Shows what is new of a client, and that it is. */
export function lightUp(clientId) {
  changed.add(clientId);
  refresh();
}

const rows = () => [...document.querySelectorAll("tr[data-client]")];
const rowPlaces = () => new Map(rows().map((row) => [row.dataset.client, row.getBoundingClientRect().top]));

/** Rows slide from where they were; those of which news came light up. */
function showChanges(before) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const row of rows()) {
    const moved = (before.get(row.dataset.client) ?? NaN) - row.getBoundingClientRect().top;
    if (moved && !still) row.animate([{ transform: `translateY(${moved}px)` }, {}], { duration: 400, easing: "ease-out" });
    if (!changed.has(row.dataset.client)) continue;
    row.classList.add("changed");
    setTimeout(() => row.classList.remove("changed"), LIT_MS);
  }
  changed.clear();
}

"""The console: pages rendered here, forms that work without a script, and one script that makes home live."""

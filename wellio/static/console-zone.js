"use strict";
// The browser knows its time zone: preselect it where none is chosen yet.
const zones = document.getElementById("timezone");
if (zones.value === "") zones.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zones.selectedIndex < 0) zones.value = "";

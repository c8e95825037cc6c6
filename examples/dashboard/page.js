// The server renders the page; this script puts the latest state in its place, and sends the switches.
"use strict";

const form = document.getElementById("faults");
const live = document.getElementById("live");
const pause = document.getElementById("pause");
const status = document.getElementById("status");
let sending = 0;
let sent = Promise.resolve();
let shown;

// One after the other: two requests at a time may arrive in another order.
form.addEventListener("change", () => {
	sending++;
	const body = new URLSearchParams(new FormData(form));
	sent = sent.then(() => fetch(form.action, { method: "POST", body, redirect: "manual" })).catch(() => {}).finally(() => {
		sending--;
		shown = undefined; // the switches become what the server says
	});
});

pause.hidden = false;
pause.addEventListener("click", () => {
	const paused = pause.getAttribute("aria-pressed") !== "true";
	pause.setAttribute("aria-pressed", paused);
});

const events = new EventSource("/events");
events.onmessage = (event) => {
	if (pause.getAttribute("aria-pressed") === "true") {
		return;
	}
	live.innerHTML = event.data;
	const on = live.firstElementChild.dataset.faults;
	if (sending > 0 || on === shown) {
		return;
	}
	shown = on;
	const names = [];
	for (const box of form.querySelectorAll("input")) {
		box.checked = on.split(" ").includes(box.value);
		if (box.checked) {
			names.push(box.labels[0].textContent);
		}
	}
	status.textContent = names.length > 0 ? "On: " + names.join(", ") : "No fault is on.";
};
events.onopen = () => {
	status.textContent = "";
};
events.onerror = () => {
	status.textContent = "No connection to the program.";
	shown = undefined;
};

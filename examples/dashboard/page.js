// The server renders the page; this script puts the latest state in its place, and sends the switches.
"use strict";

const form = document.getElementById("faults");
const live = document.getElementById("live");
const pause = document.getElementById("pause");
const status = document.getElementById("status");
let sending = 0;
let shown;

form.addEventListener("change", async () => {
	sending++;
	try {
		await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual" });
	} finally {
		sending--;
	}
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
events.onerror = () => {
	status.textContent = "No connection to the program.";
	shown = undefined;
};

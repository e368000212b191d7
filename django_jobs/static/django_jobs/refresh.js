// Keeps an element up to date that has data-refresh="SECONDS" and an id: fetches the page
// again and puts the element's new content in place of the old. What has the focus, open
// details and scrolling are kept. It rests in hidden tabs, and the button pauses it.
"use strict";
{
    const live = document.querySelector("[data-refresh]");
    const toggle = document.querySelector("[data-refresh-toggle]");
    const status = document.querySelector("[data-refresh-status]");
    const time = document.querySelector("[data-refresh-time]");
    const pause = Number(live.dataset.refresh) * 1000;
    let paused = false;
    let failed = false;
    let timer = null;

    // Said once, and only when something has changed: a screen reader reads it out.
    const say = (what) => {
        status.textContent = what ? status.dataset[what] : "";
    };

    const later = () => {
        clearTimeout(timer);
        if (!paused && !document.hidden) {
            timer = setTimeout(refresh, pause);
        }
    };

    const keyOf = (element) => element && element.getAttribute("data-focus");

    const find = (root, key) => root.querySelector(`[data-focus="${CSS.escape(key)}"]`);

    const isBusy = () => {
        const selection = document.getSelection();
        return selection && !selection.isCollapsed && live.contains(selection.anchorNode);
    };

    const swap = (fresh) => {
        const holder = live.contains(document.activeElement)
            ? document.activeElement.closest("[data-focus]") : null;
        const path = pathTo(document.activeElement);
        const open = [...live.querySelectorAll("details[open][data-focus]")].map(keyOf);
        const scrolled = [...live.querySelectorAll(".jobs-scroll")].map((box) => box.scrollLeft);
        live.replaceChildren(...fresh.childNodes);
        open.map((key) => find(live, key)).forEach((box) => box && (box.open = true));
        live.querySelectorAll(".jobs-scroll").forEach((box, index) => {
            box.scrollLeft = scrolled[index] || 0;
        });
        const focused = (holder && find(live, keyOf(holder))) || (path && follow(path));
        if (focused) {
            (focused.matches("details") ? focused.firstElementChild : focused).focus({preventScroll: true});
        }
    };

    // Where an element without a key is, by its place among its siblings.
    const pathTo = (element) => {
        const path = [];
        if (!live.contains(element) || element === live) {
            return null;
        }
        for (; element !== live; element = element.parentElement) {
            path.unshift([...element.parentElement.children].indexOf(element));
        }
        return path;
    };

    const follow = (path) => path.reduce((element, index) => element && element.children[index], live);

    const refresh = async () => {
        try {
            const answer = await fetch(location.href, {credentials: "same-origin", cache: "no-store"});
            const page = new DOMParser().parseFromString(await answer.text(), "text/html");
            const fresh = page.getElementById(live.id);
            if (answer.redirected || (answer.ok && !fresh)) {
                stop("ended");
                return;
            }
            if (!answer.ok) {
                throw new Error(answer.statusText);
            }
            if (!paused && !isBusy()) {
                swap(fresh);
                time.textContent = page.querySelector("[data-refresh-time]").textContent;
            }
            if (failed) {
                failed = false;
                say("");
            }
        } catch {
            if (!failed) {
                failed = true;
                say("failed");
            }
        }
        later();
    };

    const stop = (why) => {
        paused = true;
        clearTimeout(timer);
        toggle.textContent = toggle.dataset.resume;
        say(why);
    };

    toggle.addEventListener("click", () => {
        if (!paused) {
            stop("paused");
            return;
        }
        paused = false;
        toggle.textContent = toggle.dataset.pause;
        say("resumed");
        refresh();
    });

    document.addEventListener("visibilitychange", () => {
        clearTimeout(timer);
        if (!document.hidden && !paused) {
            refresh();
        }
    });

    toggle.hidden = false;
    later();
}

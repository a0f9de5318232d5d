// The search: sections that have all words, those with the words in the heading first.
const input = document.querySelector("input[type=search]");
const found = document.getElementById("found");
let sections;
input.addEventListener("input", async () => {
	sections ??= await (await fetch(input.dataset.index)).json();
	const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
	const has = (text) => words.every((w) => text.toLowerCase().includes(w));
	const hits = words.length ? sections.filter((s) => has(`${s.page} ${s.head} ${s.text}`)) : [];
	hits.sort((a, b) => has(b.head) - has(a.head));
	found.replaceChildren(...hits.slice(0, 12).map((s) => {
		const a = document.createElement("a");
		a.href = s.url;
		a.textContent = s.page === s.head ? s.page : `${s.page}: ${s.head}`;
		const li = document.createElement("li");
		li.append(a);
		return li;
	}));
});

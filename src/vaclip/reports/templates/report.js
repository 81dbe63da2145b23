// The page is whole without this: it sorts, filters, copies, hides arms and chooses cases.

const textOf = cell => [...cell.childNodes].map(node => node.textContent.trim()).filter(Boolean).join(" ");
const rowsOf = table => [...table.tHead.rows, ...table.tBodies[0].rows]
  .filter(row => !row.hidden).map(row => [...row.cells].map(textOf));

// --- copying: what is shown, in the order in which it is shown

const quoted = text => `"${text.replace(/"/g, '""')}"`;
// A spreadsheet would run what begins like a formula; our signed numbers are none.
const harmless = text => /^[=@\t\r]|^[+-](?![\d.])/.test(text) ? `'${text}` : text;
const TEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\u2212": "$-$", "\u2013": "--" };
const tex = text => text.replace(/[\\~^\u2212\u2013]|[&%$#_{}]/g, sign => TEX[sign] ?? `\\${sign}`);
const piped = cells => `| ${cells.map(text => text.replace(/\|/g, "\\|")).join(" | ")} |`;

const FORMATS = {
  CSV: rows => rows.map(cells => cells.map(text => quoted(harmless(text))).join(",")).join("\r\n"),
  Markdown: ([head, ...body]) => [head, head.map(() => "---"), ...body].map(piped).join("\n"),
  LaTeX: ([head, ...body]) => [
    `\\begin{tabular}{${"l".repeat(head.length)}}`, "\\toprule", `${head.map(tex).join(" & ")} \\\\`, "\\midrule",
    ...body.map(cells => `${cells.map(tex).join(" & ")} \\\\`), "\\bottomrule", "\\end{tabular}",
  ].join("\n"),
};

function copyButtons(table, said) {
  return Object.entries(FORMATS).map(([name, format]) => make("button", {
    type: "button", textContent: name,
    onclick: () => navigator.clipboard.writeText(format(rowsOf(table))).then(
      () => { said.textContent = `Copied as ${name}.`; },
      () => { said.textContent = "The browser does not let this page copy."; },
    ),
  }));
}

// --- sorting by a column's first number, else by its words

function valueOf(text) {
  const found = text.replace(/[\u2212]/g, "-").replace(/,(?=\d{3})/g, "").match(/^<?\s*[+-]?[\d.]+/);
  return found ? Number(found[0].replace(/^<\s*/, "")) : NaN;
}

function sortBy(table, column, direction) {
  const body = table.tBodies[0];
  const keyed = [...body.rows].map(row => {
    const text = textOf(row.cells[column]);
    return { row, text, value: valueOf(text) };
  });
  keyed.sort((a, b) => {
    const [known, other] = [a, b].map(one => !Number.isNaN(one.value));
    if (known !== other) return known ? -1 : 1; // what is undefined comes last either way
    const order = known ? a.value - b.value : a.text.localeCompare(b.text, "en", { numeric: true });
    return direction * order;
  });
  body.append(...keyed.map(one => one.row));
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", className: "sort", tabIndex: column ? -1 : 0 }, ...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const direction = head.ariaSort === "ascending" ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      sortBy(table, column, direction);
    };
    // One stop of the tabulator a table: arrows lead from column to column.
    button.onkeydown = event => {
      const to = heads[column + { ArrowRight: 1, ArrowLeft: -1 }[event.key]]?.firstElementChild;
      if (!to) return;
      event.preventDefault();
      button.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    };
  });
}

// --- which rows are shown: those of arms that are on, and that hold what is looked for

const off = new Set();
const MANY = 8;

function show(table) {
  const wanted = table.wanted?.value.toLowerCase() ?? "";
  for (const row of table.tBodies[0].rows) {
    const ofHidden = row.armNames.some(name => off.has(name));
    row.hidden = ofHidden || !textOf(row).toLowerCase().includes(wanted);
  }
}

function enhance(box, arms) {
  const table = box.querySelector("table");
  for (const row of table.tBodies[0].rows) {
    const words = textOf(row.cells[0]).split(/[\s,()]+/);
    row.armNames = arms.filter(name => words.includes(name));
  }
  sortable(table);
  const said = make("span", { role: "status" });
  const tools = make("p", { className: "tools" }, "Copy: ", ...copyButtons(table, said), said);
  if (table.tBodies[0].rows.length >= MANY) {
    table.wanted = make("input", { type: "search", placeholder: "Rows that contain \u2026", oninput: () => show(table) });
    table.wanted.setAttribute("aria-label", "Show the rows that contain");
    tools.prepend(table.wanted);
  }
  box.append(tools);
  return table;
}

function chooseArms(tables) {
  const form = document.getElementById("choose-arms");
  if (!form) return;
  form.hidden = false;
  form.onchange = event => {
    const { value, checked } = event.target;
    off[checked ? "delete" : "add"](value);
    for (const drawn of all("svg [data-arm]")) {
      drawn.classList.toggle("off", drawn.dataset.arm.split(" ").some(name => off.has(name)));
    }
    tables.forEach(show);
  };
}

// --- cases

function chooseCases() {
  const form = document.getElementById("choose-cases");
  if (!form) return;
  form.hidden = false;
  const count = form.querySelector("output");
  form.onchange = () => {
    const wanted = all("select", form).filter(select => select.value);
    const cases = all(".case[data-outcome]");
    for (const one of cases) one.hidden = wanted.some(select => one.dataset[select.name] !== select.value);
    const shown = cases.filter(one => !one.hidden).length;
    count.textContent = `${shown} of ${cases.length} cases`;
  };
  form.onchange();
}

const arms = all("#choose-arms input").map(input => input.value);
chooseArms(all(".table").map(box => enhance(box, arms)));
chooseCases();

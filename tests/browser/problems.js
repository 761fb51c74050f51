// What a screen reader needs: names of controls, text alternatives, one heading of the first level and none left out,
// landmarks, heads of tables with a scope, a caption on each table, and no id twice.
const problems = [];
const all = (selector) => [...document.querySelectorAll(selector)];
function labelOf(each) {
  const label = each.labels?.[0]?.cloneNode(true);
  label?.querySelectorAll("select, input").forEach((control) => control.remove());
  return label?.textContent;
}
const name = (each) =>
  (each.getAttribute("aria-label") || (each.labels ? labelOf(each) || (each.nodeName === "BUTTON" && each.textContent) : each.textContent) || "").trim();
for (const each of all('a, button, summary, input:not([type=hidden]), select')) {
  if (!name(each)) problems.push('no name: ' + each.outerHTML.slice(0, 120));
}
for (const each of all('img')) if (!each.alt) problems.push('no alt: ' + each.src);
for (const each of all('svg')) {
  if (each.getAttribute('aria-hidden') !== 'true' && !each.getAttribute('aria-label')) problems.push('svg without a name');
}
const levels = all('h1, h2, h3, h4').map((each) => Number(each.nodeName[1]));
if (levels.filter((level) => level === 1).length !== 1) problems.push('not one h1');
levels.forEach((level, i) => { if (level > (levels[i - 1] ?? 0) + 1) problems.push('heading left out before ' + i); });
for (const each of ['header', 'main', 'footer']) if (all(each).length !== 1) problems.push('no ' + each);
for (const each of all('th')) if (!each.scope) problems.push('th without scope');
for (const each of all('table')) if (!each.caption) problems.push('table without caption');
for (const each of all('nav')) if (!each.getAttribute('aria-label')) problems.push('nav without a name');
const ids = all('[id]').map((each) => each.id);
if (new Set(ids).size !== ids.length) problems.push('an id twice');
for (const attribute of ['aria-labelledby', 'aria-describedby']) {
  for (const each of all(`[${attribute}]`)) {
    for (const id of each.getAttribute(attribute).split(' ')) {
      if (!document.getElementById(id)) problems.push(attribute + ' of nothing: ' + id);
    }
  }
}
if (document.documentElement.lang !== 'en') problems.push('no language');
return problems;

// Sorting by column, and one trial marked everywhere while the pointer is on it. The page is whole without either.
(function () {
  'use strict';

  function sortValue(cell) {
    const text = cell.dataset.v === undefined ? cell.textContent.trim().replace('\u2212', '-') : cell.dataset.v;
    const isEmpty = text === '' || text === '\u2013' || text === 'NaN';
    return { text: text, isEmpty: isEmpty, number: isEmpty ? NaN : Number(text) };
  }

  function compare(a, b) {
    const numeric = [!Number.isNaN(a.number), !Number.isNaN(b.number)];
    if (numeric[0] !== numeric[1]) return numeric[0] ? -1 : 1;
    return numeric[0] ? a.number - b.number : a.text.localeCompare(b.text);
  }

  function sortBy(table, column, heading) {
    const body = table.tBodies[0];
    const sign = heading.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
    const entries = Array.from(body.rows, (row) => ({ row: row, value: sortValue(row.cells[column]) }));
    // Cells without a value stay at the end in both directions. Array.prototype.sort is stable.
    entries.sort((a, b) => {
      if (a.value.isEmpty || b.value.isEmpty) return a.value.isEmpty - b.value.isEmpty;
      return sign * compare(a.value, b.value);
    });
    body.append(...entries.map((entry) => entry.row));
    table.querySelectorAll('thead th').forEach((other) => other.removeAttribute('aria-sort'));
    heading.setAttribute('aria-sort', sign > 0 ? 'ascending' : 'descending');
  }

  document.querySelectorAll('table.sort').forEach((table) => {
    table.querySelectorAll('thead th').forEach((heading, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener('click', () => sortBy(table, column, heading));
    });
  });

  const nodesOf = new Map();
  document.querySelectorAll('[data-t]').forEach((node) => {
    if (!nodesOf.has(node.dataset.t)) nodesOf.set(node.dataset.t, []);
    nodesOf.get(node.dataset.t).push(node);
  });

  const tip = document.createElement('div');
  tip.id = 'tip';
  tip.hidden = true;
  document.body.appendChild(tip);
  let marked = null;

  function mark(trial) {
    if (trial === marked) return;
    (nodesOf.get(marked) || []).forEach((node) => node.classList.remove('hot'));
    (nodesOf.get(trial) || []).forEach((node) => node.classList.add('hot'));
    marked = trial;
  }

  // What the tip says is read off the trial's row in the last table that has one: all trials, else the leaderboard.
  function describe(trial) {
    const row = (nodesOf.get(trial) || []).filter((node) => node.tagName === 'TR').pop();
    if (!row) return 'trial ' + trial;
    const names = row.closest('table').tHead.rows[0].cells;
    return Array.from(row.cells, (cell, column) => [names[column].textContent, cell.textContent.trim()])
      .filter((pair) => pair[0] !== '' && pair[1] !== '' && pair[1] !== '\u2013')
      .slice(0, 14)
      .map((pair) => pair.join('\u2002'))
      .join('\n');
  }

  document.addEventListener('pointerover', (event) => {
    const node = event.target.closest('[data-t]');
    mark(node ? node.dataset.t : null);
    tip.hidden = !node || !node.closest('svg');
    if (!tip.hidden) tip.textContent = describe(node.dataset.t);
  });

  document.addEventListener('pointermove', (event) => {
    if (tip.hidden) return;
    tip.style.left = Math.max(8, Math.min(event.clientX + 16, innerWidth - tip.offsetWidth - 8)) + 'px';
    tip.style.top = Math.max(8, Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8)) + 'px';
  });

  // Paper cannot be unfolded: short tables are printed whole, long ones stand in the results file.
  addEventListener('beforeprint', () => {
    document.querySelectorAll('details').forEach((part) => {
      part.open = part.open || part.querySelectorAll('tr').length < 200;
    });
  });
})();

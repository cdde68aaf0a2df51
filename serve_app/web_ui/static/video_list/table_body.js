// A table body with groups of rows, which renders a list of any length.

// The browser lays out only the groups that are in sight, so a change costs the same in a list of any length.
const GROUP_ROWS = 25;
// Making a row takes time. A long list is made in several frames.
const MAX_NEW_ROWS = 40;

/** Renders a list into a table body, in groups of rows. Reuses rows, so that focus and selection stay. */
export class TableBody {
  constructor(body, newRow, keyOf) {
    Object.assign(this, { body, newRow, keyOf });
    this.rows = new Map();
  }

  /** Whether all items have rows. Otherwise it has to be called again, in another frame. */
  render(items) {
    const kept = new Map();
    let room = MAX_NEW_ROWS;
    for (const item of items) {
      const key = this.keyOf(item);
      const known = this.rows.get(key);
      if (!known && room-- <= 0) continue;
      const row = known ?? this.newRow(item);
      row.update(item);
      kept.set(key, row);
    }
    for (const [key, row] of this.rows) if (!kept.has(key)) this.removeRow(row);
    this.placeRows([...kept.values()]);
    this.rows = kept;
    return room >= 0;
  }

  placeRows(rows) {
    let group = this.body.firstElementChild;
    let next = group?.firstElementChild ?? null;
    for (const { tr } of rows) {
      if (next === null && group?.nextElementSibling?.firstElementChild === tr) {
        group = group.nextElementSibling;
        next = tr;
      }
      if (tr === next) {
        next = tr.nextElementSibling;
        continue;
      }
      if (next === null && !(group?.childElementCount < GROUP_ROWS)) group = this.addGroupAfter(group);
      group.insertBefore(tr, next);
    }
    for (const one of [...this.body.children]) if (!one.firstElementChild) one.remove();
  }

  addGroupAfter(group) {
    const added = document.createElement("div");
    added.className = "rows";
    added.setAttribute("role", "presentation");
    if (group) group.after(added);
    else this.body.prepend(added);
    return added;
  }

  /** The keyboard's focus moves on with the list instead of going back to the top of the page. */
  removeRow({ tr }) {
    const hadFocus = tr.contains(document.activeElement);
    const group = tr.parentElement;
    const neighbour = tr.nextElementSibling ?? group.nextElementSibling?.firstElementChild
      ?? tr.previousElementSibling ?? group.previousElementSibling?.lastElementChild;
    tr.remove();
    if (!group.firstElementChild) group.remove();
    if (hadFocus) (neighbour?.querySelector("button:not([hidden]), a:not([hidden])") ?? document.getElementById("main")).focus();
  }
}

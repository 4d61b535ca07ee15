import { expect, test } from 'vitest';
import { formatList } from '../../../../src/cli/output/list.js';
import { visible, visibleLines } from '../../../../src/cli/output/visible.js';

const HOSTILE = '\x1b]0;title\x07\x1b[31mred\nnext\ttab\x9b1m\u202eback\u2069\x7f é 日本';

test('what would drive a terminal is seen instead', () => {
  expect(visible(HOSTILE)).toBe(
    '\\x1b]0;title\\x07\\x1b[31mred next tab\\x9b1m\\u202eback\\u2069\\x7f é 日本',
  );
  expect(visibleLines('one\ntwo\r\x1b[2K')).toBe('one\ntwo\\x0d\\x1b[2K');
});

test('a table keeps its rows and columns; templates and JSON give what there is', () => {
  const kind = { table: '{{.A}}\t{{.B}}', headings: { A: 'A', B: 'B' }, type: 'x' };
  const rows = [{ A: HOSTILE, B: 'b' }];
  for (const format of [undefined, 'table', 'table {{.A}}\\t{{.B}}']) {
    const table = formatList(rows, kind, format);
    expect(table.split('\n')).toHaveLength(3);
    expect(table).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(table).toMatch(/ {3}b\n$/);
  }
  expect(formatList(rows, kind, '{{.A}}')).toBe(`${HOSTILE}\n`);
  expect(JSON.parse(formatList(rows, kind, 'json'))).toEqual(rows[0]);
});

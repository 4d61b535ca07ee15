/** Lists, tables and inspect. Expected texts are those of docker/cli's own tests and of docker 28.2.2. */
import { describe, expect, test } from 'vitest';
import { createInspector } from '../../../../src/cli/output/inspect.js';
import { formatList } from '../../../../src/cli/output/list.js';
import type { ListKind } from '../../../../src/cli/output/list.js';
import { alignLines, alignTabs, formatTable } from '../../../../src/cli/output/table.js';

const KIND: ListKind = {
  table: '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}',
  headings: {
    ID: 'CONTAINER ID',
    Image: 'IMAGE',
    Command: 'COMMAND',
    RunningFor: 'CREATED',
    Status: 'STATUS',
    Ports: 'PORTS',
    Names: 'NAMES',
    Labels: 'LABELS',
  },
  type: '*formatter.ContainerContext',
};
const ROWS = ['baz', 'bar'].map((name, index) => ({
  ID: `containerID${index + 1}`,
  Image: 'ubuntu',
  Command: '""',
  RunningFor: '24 hours ago',
  Status: '',
  Ports: '',
  Names: `foobar_${name}`,
  Labels: '<a>',
  Label: (key: string) => ({ 'com.example.some-label': 'yes' })[key] ?? '',
}));

describe('formatList', () => {
  // docker/cli formatter/container_test.go
  test.each([
    [
      'table',
      `CONTAINER ID   IMAGE     COMMAND   CREATED        STATUS    PORTS     NAMES
containerID1   ubuntu    ""        24 hours ago                       foobar_baz
containerID2   ubuntu    ""        24 hours ago                       foobar_bar
`,
    ],
    ['table {{.Image}}', 'IMAGE\nubuntu\nubuntu\n'],
    ['{{.Image}}', 'ubuntu\nubuntu\n'],
    ['table {{.ID}}\\t{{.Image}}', 'CONTAINER ID   IMAGE\ncontainerID1   ubuntu\ncontainerID2   ubuntu\n'],
    ['  {{.ID}}\\n--  ', 'containerID1\n--\ncontainerID2\n--\n'],
    // The heading stays as it is, but for pad.
    [
      'table {{json .Image}}|{{upper .Image}}|{{pad .Names 1 1}}|{{truncate .ID 3}}|{{join (split .Image "u") "-"}}',
      'IMAGE|IMAGE| NAMES |CONTAINER ID|IMAGE\n"ubuntu"|UBUNTU| foobar_baz |con|-b-nt-\n"ubuntu"|UBUNTU| foobar_bar |con|-b-nt-\n',
    ],
    ['table {{.Label "com.example.some-label"}}', 'some label\nyes\nyes\n'],
    ['table {{if .Status}}{{.Status}}{{else}}N/A{{end}}', 'STATUS\nN/A\nN/A\n'],
    ['json .Image', 'json .Image\njson .Image\n'],
  ])('%s', (format, expected) => expect(formatList(ROWS, KIND, format)).toBe(expected));

  test('JSON has the fields in alphabetical order, escaped as json.Marshal does', () => {
    const line = (name: string, id: string): string =>
      `{"Command":"\\"\\"","ID":"${id}","Image":"ubuntu","Labels":"\\u003ca\\u003e","Names":"${name}","Ports":"","RunningFor":"24 hours ago","Status":""}\n`;
    const expected = line('foobar_baz', 'containerID1') + line('foobar_bar', 'containerID2');
    expect(formatList(ROWS, KIND, 'json')).toBe(expected);
    expect(formatList(ROWS, KIND, '{{json .}}')).toBe(expected);
    expect(formatList(ROWS, KIND, '{{json .Labels}}')).toBe('"<a>"\n"<a>"\n');
  });

  test('a table without lines has its heading', () => {
    expect(formatList([], KIND)).toBe(
      'CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n',
    );
    expect(formatList([], KIND, 'json')).toBe('');
    expect(formatList([], KIND, '{{.ID}}')).toBe('');
  });

  test.each([
    [
      '{{InvalidFunction}}',
      'ETEMPLATE',
      'template parsing error: template: :1: function "InvalidFunction" not defined',
    ],
    [
      '{{nil}}',
      'EFIELD',
      'template parsing error: template: :1:2: executing "" at <nil>: nil is not a command',
    ],
    [
      'table {{.Foo}}',
      'EFIELD',
      'template parsing error: template: :1:2: executing "" at <.Foo>: can\'t evaluate field Foo in type *formatter.ContainerContext',
    ],
  ])('%s fails', (format, code, message) => {
    expect(() => formatList(ROWS, KIND, format)).toThrow(expect.objectContaining({ code, message }));
  });
});

describe('tables', () => {
  // Go text/tabwriter/tabwriter_test.go, cases 13a (minwidth 4, padding 1) and 13b (4, 3), with padding shown.
  test.each([
    [
      1,
      '-',
      '4444\t日本語\t22\t1\t333\n999999999\t22\n7\t22\n\t\t\t88888888\n\n666666\t666666\t666666\t4444\n1\t1\t999999999\t0000000000',
      // Wide characters count two columns here; Go's own writer counts runes, docker's does as we do.
      '4444------日本語-22--1---333\n999999999-22\n7---------22\n------------------88888888\n\n666666-666666-666666----4444\n1------1------999999999-0000000000',
    ],
    [
      3,
      '.',
      '4444\t333\t22\t1\t333\n999999999\t22\n7\t22\n\t\t\t88888888\n\n666666\t666666\t666666\t4444\n1\t1\t999999999\t0000000000',
      '4444........333...22...1...333\n999999999...22\n7...........22\n....................88888888\n\n666666...666666...666666......4444\n1........1........999999999...0000000000',
    ],
  ])('as Go aligns them, padding %d', (padding, mark, text, expected) => {
    const lines = alignLines(
      text.split('\n').map((line) => line.split('\t')),
      4,
      padding,
    );
    expect(lines.join('\n').replaceAll(' ', mark)).toBe(expected);
  });

  test('wide characters take two columns', () => {
    expect(
      formatTable([
        ['A', 'B'],
        ['世界世界世界', 'x'],
        ['plain', 'y'],
      ]),
    ).toBe('A              B\n世界世界世界   x\nplain          y\n');
  });

  test('text without tabs stays as it is', () => expect(alignTabs('a\n\nb\n')).toBe('a\n\nb\n'));
});

describe('inspect', () => {
  const image = {
    Id: 'sha256:aa',
    RepoTags: ['a:1'],
    Config: {
      Cmd: ['sh', '-c', 'a && b'],
      Env: null,
      Labels: null,
      ExposedPorts: { '443/tcp': {}, '80/tcp': {} },
    },
    RootFS: { Type: 'layers', Layers: ['sha256:bb'] },
    State: { Labels: { a: '1', b: '2' } },
  };

  function run(format?: string, ...objects: object[]): string {
    const inspector = createInspector(format);
    for (const object of objects) inspector.add(object);
    return inspector.output();
  }

  test('is indented by four, in the order of the fields, not escaped for HTML', () => {
    expect(run(undefined, image)).toBe(`${JSON.stringify([image], null, 4)}\n`);
    expect(run('json', image)).toBe(`${JSON.stringify([image])}\n`);
    expect(run('json', { Labels: { b: '2', a: '1' } })).toBe('[{"Labels":{"a":"1","b":"2"}}]\n');
    expect(run()).toBe('[]\n');
  });

  test('by a template', () => {
    expect(run('{{.Id}} {{.Config.Cmd}} {{index .Config.Labels "x"}}|', image, image)).toBe(
      'sha256:aa [sh -c a && b] |\nsha256:aa [sh -c a && b] |\n',
    );
    expect(run('{{.Config.Labels}} {{.Config.Env}} {{.Config.ExposedPorts}} {{.RootFS}}', image)).toBe(
      'map[] [] map[443/tcp:{} 80/tcp:{}] {layers [sha256:bb]}\n',
    );
    expect(run('{{range $p, $_ := .Config.ExposedPorts}}{{$p}} {{end}}{{.State.Labels.c}}', image)).toBe(
      '443/tcp 80/tcp <no value>\n',
    );
    expect(run('{{.Id}}')).toBe('\n');
  });

  test('fails as docker does', () => {
    expect(() => run('{{.Id')).toThrow(
      expect.objectContaining({
        code: 'ETEMPLATE',
        exitCode: 64,
        message: 'template parsing error: template: :1: unclosed action',
      }),
    );
    expect(() => run('{{.Foo}}', image)).toThrow(
      expect.objectContaining({
        code: 'EFIELD',
        exitCode: 1,
        message:
          'template parsing error: template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"',
      }),
    );
  });
});

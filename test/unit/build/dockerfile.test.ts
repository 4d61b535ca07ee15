/** Where instructions begin and end, by the rules of moby/buildkit (frontend/dockerfile/parser). */
import { describe, expect, test } from 'vitest';
import { parseDockerfile } from '../../../src/build/dockerfile.js';

const parse = (text: string): ReturnType<typeof parseDockerfile>['instructions'] =>
  parseDockerfile(text, 'Dockerfile').instructions;

describe('instructions', () => {
  test('of several lines, with comments and blank lines between', () => {
    const [, run, env] = parse('FROM a\nRUN one \\\n  # comment\n\n  two \\  \n# another\n\tthree\nenv A=1');
    expect(run).toMatchObject({ name: 'RUN', rest: 'one   two \tthree', line: 2, endLine: 7 });
    expect(env).toMatchObject({ name: 'ENV', rest: 'A=1', line: 8, endLine: 8 });
  });

  test('what looks like a comment in a command is none', () => {
    expect(parse('FROM a\nRUN echo # x\n  # y\nRUN z').map(({ rest }) => rest)).toEqual([
      'a',
      'echo # x',
      'z',
    ]);
  });

  test('flags', () => {
    const [, run, copy] = parse(
      'FROM a\nRUN --mount=type=bind,target="/a b" --network=none -- --x y\nCOPY --link --chown=1:2 \\\n --from=b a b',
    );
    expect(run!.flags).toEqual([
      { name: 'mount', value: 'type=bind,target="/a b"' },
      { name: 'network', value: 'none' },
    ]);
    expect(run!.rest).toBe('--x y');
    expect(copy!.flags.map(({ name, value }) => [name, value])).toEqual([
      ['link', undefined],
      ['chown', '1:2'],
      ['from', 'b'],
    ]);
  });

  test('directives', () => {
    const { escape, instructions } = parseDockerfile(
      '# syntax=x\n# escape=`\nFROM a\nRUN b `\n  c\\\nRUN d',
      'D',
    );
    expect(escape).toBe('`');
    expect(instructions.map(({ rest }) => rest)).toEqual(['a', 'b   c\\', 'd']);
    // Only at the very top.
    expect(parseDockerfile('FROM a\n# escape=`\nRUN b', 'D').escape).toBe('\\');
  });

  test('Windows line ends and a byte order mark', () => {
    expect(parse('\ufeffFROM a\r\nRUN b \\\r\n  c\r\n').map(({ rest }) => rest)).toEqual(['a', 'b   c']);
  });

  test('a backslash at the very end', () => {
    expect(parse('FROM a\nCMD b \\').map(({ rest }) => rest)).toEqual(['a', 'b']);
  });
});

describe('here-documents', () => {
  test('hold what stands there: comments, backslashes, blank lines', () => {
    const [, run, next] = parse('FROM a\nRUN <<EOF\n# no comment\n\na \\\n  EOF\nEOF\nRUN b');
    expect(run!.heredocs).toEqual([
      { name: 'EOF', content: '# no comment\n\na \\\n  EOF\n', isExpanded: true },
    ]);
    expect([run!.endLine, next!.rest, next!.line]).toEqual([7, 'b', 8]);
  });

  test('several, quoted, numbered, with tabs', () => {
    const [, copy, run] = parse(
      'FROM a\nCOPY <<A <<-"B" /d/\na\nA\n\tb\n\tB\nRUN cat 3<<C <<\'D\'\nc\nC\nd\nD',
    );
    expect(copy!.heredocs).toEqual([
      { name: 'A', content: 'a\n', isExpanded: true },
      { name: 'B', content: 'b\n', isExpanded: false },
    ]);
    expect(run!.heredocs.map(({ name, content }) => [name, content])).toEqual([
      ['C', 'c\n'],
      ['D', 'd\n'],
    ]);
  });

  test('in quotes, of other instructions, and here-strings are none', () => {
    expect(
      parse('FROM a\nRUN echo "<<EOF"\nRUN cat <<<x\nENV A=<<EOF').every(
        ({ heredocs }) => heredocs.length === 0,
      ),
    ).toBe(true);
  });
});

test.each([
  ['', 1, 'file with no instructions'],
  ['FROM a\n\nFROB x', 3, 'unknown instruction: FROB'],
  ['FROM a\nRUN <<EOF\nx', 2, 'unterminated heredoc'],
  ['# escape=x\nFROM a', 1, 'invalid escape token'],
])('%j is refused', (text, line, what) => {
  expect(() => parse(text)).toThrow(
    expect.objectContaining({
      code: 'EDOCKERFILE',
      message: expect.stringContaining(`on line ${line}: ${what}`),
    }),
  );
});

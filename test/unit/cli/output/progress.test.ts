/** Progress as a terminal shows it: what is written goes through a small terminal of rows and columns. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createBar, createProgress } from '../../../../src/cli/output/progress.js';
import { createStyle } from '../../../../src/cli/output/style.js';

class Screen {
  isTTY = true;
  rows = 24;
  columns = 120;
  written = '';
  readonly lines: string[] = [''];
  #row = 0;

  write(text: string): boolean {
    this.written += text;
    for (const [part] of text.matchAll(/\x1b\[\d*[AJK]|[\r\n]|[^\x1b\r\n]+/g)) this.#apply(part);
    return true;
  }

  #apply(part: string): void {
    if (part === '\n') this.lines[++this.#row] ??= '';
    else if (part === '\r') return;
    else if (part.endsWith('A') && part.startsWith('\x1b')) {
      this.#row -= Number(part.slice(2, -1));
      if (this.#row < 0) throw new Error('above the first line');
    } else if (part === '\x1b[2K') this.lines[this.#row] = '';
    else if (part === '\x1b[J') this.lines.length = this.#row + 1;
    else this.lines[this.#row] += part;
    if (part === '\x1b[J') this.lines[this.#row] = '';
  }

  get text(): string {
    return this.lines.join('\n');
  }
}

function on(screen: Screen): never {
  return screen as unknown as never;
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  vi.stubEnv('TERM', 'xterm');
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

describe('on a terminal', () => {
  test('each thing has its line', () => {
    const screen = new Screen();
    const progress = createProgress({ stream: on(screen) });
    progress.update('aaa', { action: 'Waiting' });
    progress.update('bbb', { action: 'Downloading', current: 5e6, total: 1e7 });
    // moby client/pkg/jsonmessage: half of fifty, then the amounts right-aligned in eight columns.
    expect(screen.text).toBe(
      `aaa: Waiting\nbbb: Downloading [${'='.repeat(25)}>${' '.repeat(25)}]      5MB/10MB\n`,
    );
    progress.message('Status: fine');
    progress.done('aaa', 'Pull complete');
    progress.finish();
    expect(screen.text).toBe(
      `Status: fine\naaa: Pull complete\nbbb: Downloading [${'='.repeat(25)}>${' '.repeat(25)}]      5MB/10MB\n`,
    );
  });

  test('is redrawn every tenth of a second, and in the end', () => {
    const screen = new Screen();
    const progress = createProgress({ stream: on(screen) });
    progress.update('a', { action: 'Downloading', current: 1, total: 1000 });
    const before = screen.written.length;
    for (let current = 2; current < 1000; current++)
      progress.update('a', { action: 'Downloading', current, total: 1000 });
    expect(screen.written).toHaveLength(before);
    vi.advanceTimersByTime(100);
    progress.update('a', { action: 'Downloading', current: 999, total: 1000 });
    expect(screen.text).toContain('999B/1kB');
    progress.update('a', { action: 'Downloading', current: 1000, total: 1000 });
    expect(screen.text).not.toContain('  1kB/1kB');
    progress.finish();
    expect(screen.text).toContain('  1kB/1kB');
  });

  test('fits the terminal: no bar where it is narrow, no line that breaks, no more lines than rows', () => {
    const screen = new Screen();
    Object.assign(screen, { columns: 40, rows: 4 });
    const progress = createProgress({ stream: on(screen) });
    for (let id = 0; id < 9; id++) {
      progress.update(`layer${id}`, { action: 'Downloading', current: 1e6, total: 2e6 });
      vi.advanceTimersByTime(100);
      expect(screen.lines.length).toBeLessThanOrEqual(4);
    }
    progress.done('layer0', 'Pull complete');
    vi.advanceTimersByTime(100);
    progress.update('layer5', {
      action: 'Extracting with a text that is much too long',
      current: 1,
      total: 2,
    });
    expect(screen.text).not.toContain('layer0');
    progress.finish();
    expect(screen.lines).toHaveLength(10);
    expect(screen.lines[0]).toBe('layer0: Pull complete');
    expect(screen.lines[1]).toBe('layer1: Downloading      1MB/2MB');
    for (const line of screen.lines) expect(line.length).toBeLessThan(40);
  });

  test('a bar is gone when it is finished', () => {
    const screen = new Screen();
    screen.write('$ lamina mount\n');
    const bar = createBar('Decompressing', on(screen));
    bar.update(1, 4);
    expect(screen.text).toContain('\nDecompressing [============>');
    bar.finish();
    expect(screen.text).toBe('$ lamina mount\n');
  });
});

describe('where there is no terminal', () => {
  test('a line says each change of action', () => {
    const screen = new Screen();
    screen.isTTY = false;
    const progress = createProgress({ stream: on(screen) });
    progress.update('a', { action: 'Pulling fs layer' });
    progress.update('a', { action: 'Downloading', current: 1, total: 9 });
    progress.update('a', { action: 'Pulling fs layer' });
    progress.done('a', 'Pull complete');
    progress.message('Digest: sha256:aa');
    progress.finish();
    expect(screen.written).toBe('a: Pulling fs layer\na: Pull complete\nDigest: sha256:aa\n');
  });

  test('a bar says nothing', () => {
    const screen = new Screen();
    screen.isTTY = false;
    const bar = createBar('Decompressing', on(screen));
    bar.update(1, 4);
    bar.finish();
    expect(screen.written).toBe('');
  });

  test('a dumb terminal is none', () => {
    vi.stubEnv('TERM', 'dumb');
    const screen = new Screen();
    createProgress({ stream: on(screen) }).update('a', { action: 'Waiting' });
    expect(screen.written).toBe('a: Waiting\n');
  });
});

describe('colours', () => {
  const RED = '\x1b[31mx\x1b[39m';
  test.each([
    [true, {}, RED],
    [true, { NO_COLOR: '' }, RED],
    [true, { NO_COLOR: '1' }, 'x'],
    [true, { TERM: 'dumb' }, 'x'],
    [false, {}, 'x'],
  ])('terminal %s, %j', (isTTY, env, expected) => {
    expect(createStyle({ isTTY }, env)('red', 'x')).toBe(expected);
  });
});

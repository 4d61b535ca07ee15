/** A progress bar on a terminal, and nothing where stderr is none: a mount has no steps worth a log line each. */
import { formatBytes } from './format.js';

export interface Progress {
  update(doneBytes: number, totalBytes: number): void;
  finish(): void;
}

const WIDTH = 50;
const INTERVAL_MS = 100;

/** `label [=====>    ] 12.3MB/45.6MB`, in docker's form. */
export function createProgress(label: string, stream: NodeJS.WriteStream = process.stderr): Progress {
  if (!stream.isTTY) return { update: () => {}, finish: () => {} };
  let shownAt = 0;
  let isShown = false;
  return {
    update(doneBytes, totalBytes) {
      const now = Date.now();
      if (now - shownAt < INTERVAL_MS && doneBytes < totalBytes) return;
      shownAt = now;
      isShown = true;
      const filled = Math.min(WIDTH, Math.floor((WIDTH * doneBytes) / Math.max(1, totalBytes)));
      const bar = `${'='.repeat(Math.max(0, filled - 1))}${filled > 0 ? '>' : ''}`.padEnd(WIDTH);
      stream.write(`\r\x1b[K${label} [${bar}] ${formatBytes(doneBytes)}/${formatBytes(totalBytes)}`);
    },
    finish() {
      if (isShown) stream.write('\r\x1b[K');
    },
  };
}

/** A build's steps in BuildKit's plain form (buildkit util/progress/progressui/printer.go): numbered, each line with the number of its step. */
import type { BuildProgress, ProgressStep } from '../../build/progress.js';

export function plainProgress(out: { write(text: string): unknown }): BuildProgress {
  let count = 0;
  let last = 0;
  const line = (number: number, text: string): void => {
    // A blank line where another step has the word.
    if (last !== 0 && last !== number) out.write('\n');
    last = number;
    out.write(`#${number} ${text}\n`);
  };
  return {
    step(title): ProgressStep {
      const number = ++count;
      const begun = process.hrtime.bigint();
      const seconds = (): number => Number(process.hrtime.bigint() - begun) / 1e9;
      line(number, title);
      return {
        log: (text) => line(number, `${seconds().toFixed(3)} ${text}`),
        cached: () => line(number, 'CACHED'),
        done: () => line(number, `DONE ${seconds().toFixed(1)}s`),
        failed: (message) => line(number, `ERROR: ${message.replace(/^failed to solve: /, '')}`),
      };
    },
  };
}

export function quietProgress(): BuildProgress {
  const nothing = (): void => {};
  return { step: () => ({ log: nothing, cached: nothing, done: nothing, failed: nothing }) };
}

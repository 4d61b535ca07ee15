/** docker's question (docker/cli internal/prompt): the answer is a line of standard input, its end is No. */
import { createInterface } from 'node:readline';
import { LaminaError } from '../../errors.js';

/** Raises ECANCELLED unless the answer is `y`. */
export async function confirm(question: string, doing: string): Promise<void> {
  process.stdout.write(`${question}\nAre you sure you want to continue? [y/N] `);
  const lines = createInterface({ input: process.stdin });
  try {
    for await (const line of lines) {
      if (line.trim().toLowerCase() === 'y') return;
      break;
    }
  } finally {
    lines.close();
    process.stdin.destroy();
  }
  throw new LaminaError('ECANCELLED', `${doing} has been cancelled`);
}

/** Questions on a terminal; secrets are not shown while they are typed. */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { LaminaError } from '../../errors.js';

export async function ask(question: string, isSecret: boolean): Promise<string> {
  let isMuted = false;
  const output = new Writable({
    write(chunk, _encoding, done) {
      if (!isMuted) process.stdout.write(chunk as Buffer);
      done();
    },
  });
  const line = createInterface({ input: process.stdin, output, terminal: true });
  try {
    return await new Promise<string>((resolve, reject) => {
      line.on('SIGINT', () => reject(new LaminaError('EAUTH', 'interrupted', { hint: '' })));
      line.on('close', () => reject(new LaminaError('EAUTH', 'no answer', { hint: '' })));
      line.question(question, resolve);
      isMuted = isSecret;
    });
  } finally {
    // By its own listeners for that it lets go of the terminal: with them gone it would show what is typed at the next question.
    line.close();
    if (isSecret) process.stdout.write('\n');
  }
}

/** All of standard input, without the newline at its end. */
export async function readSecret(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}

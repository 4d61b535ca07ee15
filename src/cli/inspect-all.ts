/** What all of docker's inspect commands do: print what was found, then say what was not. */
import { LaminaError } from '../errors.js';
import { visibleLines } from './output/visible.js';

/** @param find raises a LaminaError for a name that leads nowhere. Raises the last of them when all has been printed. */
export async function inspectAll(
  names: readonly string[],
  format: string | undefined,
  find: (name: string) => Promise<object>,
): Promise<void> {
  const { createInspector } = await import('./output/inspect.js');
  const inspector = createInspector(format);
  const failures: LaminaError[] = [];
  for (const name of names) {
    try {
      inspector.add(await find(name));
    } catch (error) {
      if (!(error instanceof LaminaError)) throw error;
      failures.push(error);
    }
  }
  process.stdout.write(inspector.output());
  const last = failures.pop();
  for (const { message, code } of failures)
    process.stderr.write(`lamina: ${visibleLines(message)} [${code}]\n`);
  if (last !== undefined) throw last;
}

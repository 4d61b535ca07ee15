/** Makes a failing script small: leaves out lines, then entries of the lower layers, while what is left fails as well. */
import type { Line, RandomScript } from './random-script.js';
import { shrinkStack, without } from './shrink.js';

/** @param fails whether a script still shows the failure */
export async function shrinkScript(
  script: RandomScript,
  fails: (script: RandomScript) => Promise<boolean>,
): Promise<RandomScript> {
  const withLines = (lines: readonly Line[]): RandomScript => ({ ...script, lines: [...lines] });
  let lines = await without<Line>(script.lines, (candidate) => fails(withLines(candidate)));
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index]!;
    if (typeof line === 'string') continue;
    const replaced = (parallel: readonly string[][]): Line[] =>
      lines.map((old, at) => (at === index ? { parallel: [...parallel] } : old));
    let parallel = await without(line.parallel, (candidate) => fails(withLines(replaced(candidate))));
    for (let process = 0; process < parallel.length; process++) {
      const others = (own: readonly string[]): string[][] =>
        parallel.map((old, at) => (at === process ? [...own] : old));
      parallel = others(
        await without(parallel[process]!, (candidate) => fails(withLines(replaced(others(candidate))))),
      );
    }
    lines = replaced(parallel);
  }
  const lower = await shrinkStack(script.lower, (candidate) =>
    fails({ lower: candidate, lines: [...lines] }),
  );
  return { lower, lines: [...lines] };
}

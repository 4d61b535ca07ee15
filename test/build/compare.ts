/** What two builds of one Dockerfile differ in, once what may differ is left out. */
import type { Difference } from './case.js';
import type { Built } from './side-by-side.js';

export interface Compared {
  ourSide: Record<string, unknown>;
  theirSide: Record<string, unknown>;
  /** Differences of the list that are none. */
  stale: string[];
}

/**
 * In which every two builds differ:
 * - the time of a directory into which something was put: buildah's is that of the build, ours stays what the image says, so that
 *   a layer depends on what was copied alone;
 * - history, which each writes in its own words, and buildah once for all steps without --layers;
 * - members of the config that are empty: buildah writes them out.
 */
export function compare(ours: Built, theirs: Built, differences: readonly Difference[]): Compared {
  const stale: string[] = [];
  const [ourConfig, theirConfig] = [shown(ours.config), shown(theirs.config)];
  const lines = differing(ours, theirs);
  for (const { reason, paths, config } of differences) {
    let isThere = false;
    if (config !== undefined) {
      isThere = JSON.stringify(ourConfig[config]) !== JSON.stringify(theirConfig[config]);
      delete ourConfig[config];
      delete theirConfig[config];
    }
    for (const path of [...lines.keys()])
      if (paths?.test(path) === true) {
        isThere = true;
        lines.delete(path);
      }
    if (!isThere) stale.push(reason);
  }
  const side = (of: 0 | 1): string[] => [...lines].map(([path, pair]) => pair[of] ?? `${path} is not there`);
  return {
    ourSide: { config: ourConfig, author: ours.author, tree: side(0) },
    theirSide: { config: theirConfig, author: theirs.author, tree: side(1) },
    stale,
  };
}

function shown(config: Record<string, unknown>): Record<string, unknown> {
  const isEmpty = (value: unknown): boolean =>
    value === null ||
    value === undefined ||
    value === '' ||
    value === false ||
    value === 0 ||
    (typeof value === 'object' && Object.keys(value).length === 0);
  // What described the container of docker's first builder.
  const ofContainers = new Set(['Hostname', 'Domainname', 'Image', 'ArgsEscaped']);
  return Object.fromEntries(
    Object.entries(config).filter(([name, value]) => !isEmpty(value) && !ofContainers.has(name)),
  );
}

function differing(ours: Built, theirs: Built): Map<string, [string | undefined, string | undefined]> {
  const found = new Map<string, [string | undefined, string | undefined]>();
  for (const path of new Set([...ours.tree.keys(), ...theirs.tree.keys()])) {
    const [own, other] = [ours.tree.get(path), theirs.tree.get(path)];
    if (own === other || (own !== undefined && other !== undefined && isSameDirectory(own, other))) continue;
    found.set(path, [own, other]);
  }
  return found;
}

/** But for their times. */
function isSameDirectory(own: string, other: string): boolean {
  const [a, b] = [own.split(' '), other.split(' ')];
  return a[1] === 'd' && b[1] === 'd' && a.every((field, index) => index === 6 || field === b[index]);
}

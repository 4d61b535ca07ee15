/** What the commands that prune have in common: their filters, and docker's way to say what went (docker/cli cli/command/image/prune.go). */
import type { ContainerPrune, ImagePrune, PruneFilter } from '../../system/prune.js';
import { parseFilters } from './filters.js';
import { formatSize } from './sizes.js';

/** Raises EUSAGE, EFILTER. */
export function pruneFilter(texts: readonly string[]): PruneFilter {
  const filters = parseFilters(texts, ['until', 'label', 'label!'], '--filter');
  const untilMs = filters.untilMs();
  return {
    ...(untilMs === undefined ? {} : { untilMs }),
    labels: filters.get('label'),
    withoutLabels: filters.get('label!'),
  };
}

/** `Deleted Images:` and what follows, with an empty line after it; nothing when nothing went. */
export function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${title}:\n${lines.map((line) => `${line}\n`).join('')}\n`;
}

export function imageSections({ records, orphans }: ImagePrune): string {
  const lines = records.map((record) =>
    'untagged' in record ? `untagged: ${record.untagged}` : `deleted: ${record.deleted}`,
  );
  return section('Deleted Images', lines) + section('Deleted Blobs', orphans);
}

export function containerSection({ removed }: ContainerPrune): string {
  return section('Deleted Containers', removed);
}

export function total(reclaimedBytes: number): string {
  return `Total reclaimed space: ${formatSize(reclaimedBytes)}\n`;
}

/** A dry run shows the same, and says that it was one. */
export function asDryRun(text: string): string {
  return text.replaceAll(/^Deleted /gm, 'Would delete ').replace('Total reclaimed', 'Total reclaimable');
}

export function warnRefused({ refused }: ImagePrune): void {
  if (refused !== undefined)
    process.stderr.write(`lamina: warning: no blob is removed: ${refused.message}\n`);
}

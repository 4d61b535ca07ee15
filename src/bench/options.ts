/** The options of `lamina bench`, checked before anything is made. */
import { LaminaError } from '../errors.js';

/** What Lamina can be held against. */
export const PEERS = ['overlayfs', 'fuse-overlayfs', 'plain'] as const;
export type Peer = (typeof PEERS)[number];

/** Groups of measurements, in the order in which they run. */
export const SCENARIOS = ['lookup', 'find', 'ls', 'read', 'open', 'depth'] as const;
export type ScenarioName = (typeof SCENARIOS)[number];

export const DEFAULT_RUNS = 3;
/** Kernel overlayfs takes 500 layers (fs/overlayfs/params.h, OVL_MAX_STACK); what is deeper could be held against nothing. */
export const MAX_DEPTH = 500;

export interface BenchOptions {
  /** The first that can run is what the ratios are to. */
  against: readonly Peer[];
  only: readonly ScenarioName[];
  runs: number;
  /** Numbers of layers to which the image is made deeper; none: it is not. */
  depths: readonly number[];
  /** Fewer names and bytes: it shows that all works, not how fast it is. */
  quick: boolean;
  /** As root the kernel's caches are emptied before what is cold. */
  dropCaches: boolean;
  keep: boolean;
  /** Directory in which the bench's own is made; beside the store when absent. */
  workDirectory: string | undefined;
  platform: string | undefined;
}

/** As commander gives them. */
export interface BenchFlags {
  against?: string;
  only?: string;
  runs?: string;
  depth?: string;
  quick?: boolean;
  dropCaches?: boolean;
  keep?: boolean;
  work?: string;
  platform?: string;
}

/** Raises EUSAGE. */
export function parseBenchOptions(flags: BenchFlags): BenchOptions {
  const quick = flags.quick === true;
  const depths = split(flags.depth).map((text) => wholeNumber(text, '--depth', 1, MAX_DEPTH));
  const only =
    flags.only === undefined ? [...SCENARIOS] : chosen(flags.only, SCENARIOS, 'scenario', '--only');
  return {
    against: flags.against === undefined ? PEERS : chosen(flags.against, PEERS, 'subject', '--against'),
    only,
    runs: flags.runs === undefined ? (quick ? 1 : DEFAULT_RUNS) : wholeNumber(flags.runs, '--runs', 1, 1000),
    depths: [...new Set(depths)].sort((a, b) => a - b),
    quick,
    dropCaches: flags.dropCaches !== false,
    keep: flags.keep === true,
    workDirectory: flags.work,
    platform: flags.platform,
  };
}

function split(list: string | undefined): string[] {
  return (list ?? '')
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');
}

function chosen<T extends string>(list: string, known: readonly T[], what: string, flag: string): T[] {
  const words = [...new Set(split(list))];
  for (const word of words) {
    if (!(known as readonly string[]).includes(word))
      throw new LaminaError('EUSAGE', `unknown ${what} "${word}" for ${flag}: there are ${known.join(', ')}`);
  }
  return words as T[];
}

function wholeNumber(text: string, flag: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw new LaminaError(
      'EUSAGE',
      `invalid value "${text}" for ${flag}: expected a number from ${least} to ${most}`,
    );
  return value;
}

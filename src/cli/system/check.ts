/** `lamina system check`: exit status 1 when something is damaged; what a killed process left over is no damage. */
import type { Command } from 'commander';
import type { CheckResult, Finding } from '../../system/check/check.js';
import { openImages } from '../image/images-store.js';

interface Flags {
  json?: boolean;
  repair?: boolean;
}

export function register(parent: Command): void {
  parent
    .command('check')
    .description('Check every digest, index and record of the store')
    .option('--json', 'Print in JSON format')
    .option(
      '--repair',
      'Remove what is damaged and can be made again, what nothing needs, and names of images that cannot be read',
    )
    .action(async (flags: Flags) => run(flags));
}

async function run(flags: Flags): Promise<void> {
  const [store, { checkStore, repairStore }] = await Promise.all([
    openImages(),
    import('../../system/check/check.js'),
  ]);
  const say = (text: string): void => void (flags.json !== true && process.stdout.write(text));
  const repaired: Finding[] = [];
  let result: CheckResult;
  if (flags.repair === true)
    result = await repairStore(store, (finding) => {
      repaired.push(finding);
      say(`${line(finding)}\n${finding.repair === undefined ? '' : `  repair: ${finding.repair}\n`}`);
    });
  else result = await checkStore(store);
  const { findings, checked } = result;
  const damage = findings.filter(({ kind }) => kind === 'damage');
  if (flags.json === true) {
    const shown = ({ kind, subject, what, repair }: Finding): object => ({ kind, subject, what, repair });
    const before = flags.repair === true ? { before: repaired.map(shown) } : {};
    process.stdout.write(
      `${JSON.stringify({ isClean: damage.length === 0, findings: findings.map(shown), ...before, checked }, null, 2)}\n`,
    );
  } else {
    if (flags.repair !== true || damage.length > 0) for (const finding of findings) say(`${line(finding)}\n`);
    const { formatSize } = await import('../output/sizes.js');
    const { images, blobs, bytes, layers, chains, containers, unreadable } = checked;
    if (unreadable.length > 0) say(`Not checked, as this user may not read it: ${unreadable.join(' ')}\n`);
    say(
      `Checked ${images} images, ${blobs} blobs, ${layers} layers, ${chains} merged TOCs, ${containers} containers, ${formatSize(bytes, 3)}: ${summary(findings)}\n`,
    );
    if (findings.some(({ repair }) => repair !== undefined) && flags.repair !== true)
      say('Repair with: lamina system check --repair\n');
  }
  if (damage.length > 0) process.exitCode = 1;
}

function line({ kind, subject, what }: Finding): string {
  return `${kind === 'damage' ? 'damaged' : 'left over'}: ${subject}: ${what}`;
}

function summary(findings: readonly Finding[]): string {
  const count = (kind: Finding['kind']): number => findings.filter((finding) => finding.kind === kind).length;
  const [damaged, left] = [count('damage'), count('leftover')];
  if (damaged + left === 0) return 'all is well';
  return damaged === 0 ? `nothing is damaged, ${left} left over` : `${damaged} damaged, ${left} left over`;
}

/** `lamina copy` */
import { writeFileSync } from 'node:fs';
import { fromSystemError, LaminaError } from '../../errors.js';
import type { Command } from 'commander';
import { openClients, parseBoolean } from '../registry/client.js';
import { createTransferProgress } from '../registry/show.js';
import { openImages } from './images-store.js';

interface Flags {
  all?: boolean;
  platform?: string;
  preserveDigests?: boolean;
  format?: string;
  digestfile?: string;
  quiet?: boolean;
  srcTlsVerify?: string | true;
  destTlsVerify?: string | true;
  srcCertDir?: string;
  destCertDir?: string;
}

export function register(parent: Command): void {
  parent
    .command('copy')
    .description('Copy an image between registries, archives, layouts and the store')
    .usage('[OPTIONS] SOURCE DESTINATION')
    .argument('<source>')
    .argument('<destination>')
    .option('-a, --all', 'Copy all images if the source is a list, and the list')
    .option('--platform <string>', 'Set platform if the source has several (DOCKER_DEFAULT_PLATFORM)')
    .option('--preserve-digests', 'Fail if a digest would change')
    .option(
      '-f, --format <string>',
      'Manifest type (oci, docker) to use in the destination (default: as it is)',
    )
    .option('--digestfile <string>', 'Write the digest of the resulting image to the file')
    .option('-q, --quiet', 'Suppress output')
    .option('--src-tls-verify [bool]', 'As --tls-verify, for the source')
    .option('--dest-tls-verify [bool]', 'As --tls-verify, for the destination')
    .option('--src-cert-dir <string>', 'Directory of certificates (*.crt, *.cert, *.key) for the source')
    .option(
      '--dest-cert-dir <string>',
      'Directory of certificates (*.crt, *.cert, *.key) for the destination',
    )
    .action(async (source: string, destination: string, flags: Flags) => run(source, destination, flags));
}

async function run(from: string, to: string, flags: Flags): Promise<void> {
  const format = formatOf(flags.format);
  const [store, { copyImage }, { parsePlatform }] = await Promise.all([
    openImages(),
    import('../../image/copy/copy.js'),
    import('../../oci/platform.js'),
  ]);
  const platform = flags.platform ?? process.env.DOCKER_DEFAULT_PLATFORM;
  if (flags.all === true && flags.platform !== undefined)
    throw new LaminaError('EUSAGE', 'conflicting options: cannot specify both --all and --platform', {
      hint: '',
    });
  const clients = openClients();
  const source = { tlsVerify: parseBoolean(flags.srcTlsVerify, 'src-tls-verify'), certDir: flags.srcCertDir };
  const target = {
    tlsVerify: parseBoolean(flags.destTlsVerify, 'dest-tls-verify'),
    certDir: flags.destCertDir,
  };
  const progress = createTransferProgress(flags.quiet === true);
  const handled = await cleanedOnSignals();
  try {
    const { digest } = await copyImage(store, from, to, {
      isAll: flags.all === true,
      preservesDigests: flags.preserveDigests === true,
      progress,
      sourceClient: () => clients.client(source),
      targetClient: () => clients.client(target),
      ...(format === undefined ? {} : { format }),
      ...(platform && flags.all !== true ? { platform: parsePlatform(platform) } : {}),
    });
    progress.message(`Digest: ${digest}`);
    if (flags.digestfile !== undefined) writeDigest(flags.digestfile, digest);
  } finally {
    progress.finish();
    await clients.close();
    handled.release();
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Who interrupts a copy does not want to find half of it: what is unfinished goes, then the signal does what it does. */
async function cleanedOnSignals(): Promise<{ release: () => void }> {
  const { removeUnfinished } = await import('../../archive/whole-files.js');
  const release = (): void => {
    for (const signal of SIGNALS) process.off(signal, stop);
  };
  const stop = (signal: NodeJS.Signals): void => {
    release();
    removeUnfinished();
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.on(signal, stop);
  return { release };
}

/** `v2s2` is skopeo's word for docker's. */
function formatOf(text: string | undefined): 'oci' | 'docker' | undefined {
  if (text === undefined || text === 'oci') return text;
  if (text === 'docker' || text === 'v2s2') return 'docker';
  throw new LaminaError('EUSAGE', `unknown format "${text}"`, { hint: 'Give oci or docker.' });
}

/** Without a newline, as skopeo and podman. */
function writeDigest(file: string, digest: string): void {
  try {
    writeFileSync(file, digest);
  } catch (error) {
    throw fromSystemError(error, 'cannot write', file);
  }
}

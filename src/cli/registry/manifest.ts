/** `lamina manifest inspect` */
import type { Command } from 'commander';
import { addTlsOption, withClient } from './client.js';
import type { TlsFlags } from './client.js';

interface Flags extends TlsFlags {
  insecure?: boolean;
  verbose?: boolean;
}

export function register(program: Command): void {
  const manifest = program.command('manifest').description('Look at image manifests and manifest lists');
  addTlsOption(
    manifest
      .command('inspect')
      .description('Display an image manifest, or manifest list')
      .usage('[OPTIONS] MANIFEST')
      .argument('<manifest>')
      .option('--insecure', 'Allow communication with an insecure registry')
      .option('-v, --verbose', 'Output additional info including layers and platform'),
  ).action(async (name: string, flags: Flags) => run(name, flags));
}

async function run(name: string, flags: Flags): Promise<void> {
  const [
    { Repository },
    { formatReference, parseReference, withDefaultTag },
    { parseIndex },
    { documentKind, OCI_MANIFEST },
    { printableJson },
  ] = await Promise.all([
    import('../../registry/repository.js'),
    import('../../oci/reference.js'),
    import('../../oci/image-index.js'),
    import('../../oci/media-types.js'),
    import('../../registry/printable.js'),
  ]);
  const reference = withDefaultTag(parseReference(name));
  const tls = flags.insecure === true ? { tlsVerify: 'false' } : flags;
  await withClient(tls, async (client) => {
    const repository = new Repository(client, reference);
    const document = await repository.manifest(reference.digest ?? reference.tag!);
    const show = (value: unknown): void =>
      void process.stdout.write(`${printableJson(JSON.stringify(value, undefined, '\t'))}\n`);
    const json = (bytes: Buffer): unknown => JSON.parse(bytes.toString('utf8'));
    if (flags.verbose !== true) return show(json(document.bytes));
    const verbose = (one: typeof document, platform?: unknown): object => ({
      Ref: formatReference({ ...reference, digest: one.digest }),
      Descriptor: {
        mediaType: one.mediaType,
        digest: one.digest,
        size: one.bytes.length,
        ...(platform === undefined ? {} : { platform }),
      },
      Raw: one.bytes.toString('base64'),
      [one.mediaType === OCI_MANIFEST ? 'OCIManifest' : 'SchemaV2Manifest']: json(one.bytes),
    });
    if (documentKind(document.mediaType) !== 'index') return show(verbose(document));
    const listed = (json(document.bytes) as { manifests: { platform?: unknown }[] }).manifests;
    const all: object[] = [];
    for (const [index, { digest, mediaType }] of parseIndex(
      document.bytes,
      document.digest,
    ).manifests.entries())
      if (documentKind(mediaType) === 'manifest')
        all.push(verbose(await repository.manifest(digest), listed[index]!.platform));
    show(all);
  });
}

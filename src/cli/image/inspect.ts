/** `lamina image inspect` */
import type { Command } from 'commander';
import type { StoredImage } from '../../store/stored-image.js';
import { checkPlatform, openImages } from './images-store.js';

interface Flags {
  format?: string;
  platform?: string;
}

export const FORMAT_HELP =
  'Format output using a custom template:\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.Id}} {{json .Config}}"';

export function register(parent: Command): void {
  parent
    .command('inspect')
    .description('Display detailed information on one or more images')
    .argument('<image...>')
    .option('-f, --format <string>', FORMAT_HELP)
    .option('--platform <string>', 'Inspect a specific platform (os[/arch[/variant]])')
    .action(async (names: string[], flags: Flags) => {
      const store = await openImages();
      const snapshot = store.snapshot();
      const { inspectAll } = await import('../inspect-all.js');
      await inspectAll(names, flags.format, async (name) => {
        const { image } = snapshot.get(name);
        await checkPlatform(image, name, flags.platform);
        return imageObject(image, store.root);
      });
    });
}

/** docker's object: all fields for templates, and what is not empty for JSON. Raises EBLOB, EDIGEST, EBADIMAGE. */
export async function imageObject(image: StoredImage, root: string): Promise<object> {
  const [{ describeStoredImage, OMITTED_WHEN_EMPTY }, { goStruct }] = await Promise.all([
    import('../../image/describe.js'),
    import('../output/inspect.js'),
  ]);
  const fields = describeStoredImage(image, root);
  const { mediaType: MediaType, digest: Digest, sizeBytes: Size } = image.descriptor;
  const part = (type: string, name: string, omitted?: readonly string[]): object =>
    goStruct(type, fields[name] as object, omitted);
  return goStruct(
    'image.InspectResponse',
    {
      ...fields,
      Config: part('dockerspec.DockerOCIImageConfig', 'Config', OMITTED_WHEN_EMPTY.config),
      RootFS: part('image.RootFS', 'RootFS'),
      GraphDriver: part('storage.DriverData', 'GraphDriver'),
      Metadata: part('image.Metadata', 'Metadata'),
      // Its fields have other names in JSON.
      Descriptor: Object.defineProperty(goStruct('v1.Descriptor', { MediaType, Digest, Size }), 'toJSON', {
        value: () => ({ mediaType: MediaType, digest: Digest, size: Size }),
      }),
    },
    OMITTED_WHEN_EMPTY.image,
  );
}

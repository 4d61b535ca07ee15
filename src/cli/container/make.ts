/** What `run` and `create` do first: the image, fetched when it is not there, and a container of it. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { createContainer } from '../../container/create.js';
import { ContainerStore } from '../../container/store.js';
import { fromSystemError, LaminaError } from '../../errors.js';
import { openImage } from '../../image/open.js';
import type { OpenedImage } from '../../image/open.js';
import { processStart } from '../../mount/table.js';
import { settingsOf } from '../../runtime/settings.js';
import type { ContainerRecord } from '../../store/container-record.js';
import { createBar } from '../output/progress.js';
import { openOrPull } from '../registry/on-demand.js';
import type { PullPolicy } from '../registry/on-demand.js';
import { checkRequest, parseLabels, settingsRequest } from './run-flags.js';
import type { RunFlags } from './run-flags.js';

export interface MadeContainer {
  store: ContainerStore;
  record: ContainerRecord;
  /** The caller closes it. */
  opened: OpenedImage;
}

/**
 * @param isStarted it is started by this process as soon as it is made
 * Raises EUSAGE, ENAME, EEXIST (of the cidfile), and what finding the image raises; no container is left then.
 */
export async function makeContainer(
  image: string,
  words: readonly string[],
  flags: RunFlags,
  isStarted = false,
): Promise<MadeContainer> {
  const asked = await settingsRequest(flags, words);
  const madeBy = { pid: process.pid, pidStart: processStart(process.pid) ?? '' };
  const request = { ...asked, ...(isStarted ? { madeBy } : {}) };
  await checkRequest(request);
  const cidFile = flags.cidfile === undefined ? undefined : openCidFile(flags.cidfile);
  try {
    const progress = createBar('Decompressing');
    const open = (): Promise<OpenedImage> =>
      openImage(image, {
        ...(flags.platform === undefined ? {} : { platform: flags.platform }),
        onProgress: progress.update,
      });
    const opened = await openOrPull(image, flags.platform, open, pullPolicy(flags.pull)).finally(() =>
      progress.finish(),
    );
    try {
      const store = new ContainerStore();
      const settings = settingsOf(opened.archived.config.config, request);
      const record = await createContainer(store, opened, flags.name, settings, parseLabels(flags.label));
      if (cidFile !== undefined) writeSync(cidFile, record.id);
      return { store, record, opened };
    } catch (error) {
      opened.close();
      throw error;
    }
  } finally {
    if (cidFile !== undefined) closeSync(cidFile);
  }
}

function pullPolicy(text: string): PullPolicy {
  if (text === 'always' || text === 'missing' || text === 'never') return text;
  throw new LaminaError(
    'EUSAGE',
    `invalid pull option: '${text}': must be one of "always", "missing" or "never"`,
  );
}

function openCidFile(file: string): number {
  try {
    return openSync(file, 'wx', 0o644);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new LaminaError(
        'EEXIST',
        `container ID file found, make sure the other container isn't running or delete ${file}`,
        { path: file },
      );
    throw fromSystemError(error, 'cannot write', file);
  }
}

/** Makes checkpoints on a thread of its own; started by `makeOnWorker`. */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { LaminaError } from '../../errors.js';
import { makeCheckpoints } from '../../layer/lazy/make-checkpoints.js';

export interface CheckpointJob {
  file: string;
  name: string;
  compression: 'none' | 'gzip';
  maxBytes: number;
}

const { file, name, compression, maxBytes } = workerData as CheckpointJob;
const fd = openSync(file, 'r');
try {
  const made = makeCheckpoints({ fd, offset: 0, sizeBytes: fstatSync(fd).size, name }, compression, maxBytes);
  parentPort!.postMessage({ made });
} catch (error) {
  const { code, message } = error as LaminaError;
  parentPort!.postMessage({ failure: { code: error instanceof LaminaError ? code : undefined, message } });
} finally {
  closeSync(fd);
}

/** A container that runs on its own: `run -d`, `start`. */
import { LaminaError } from '../errors.js';
import type { PreparedContainer } from './prepare.js';

export async function runDetached(prepared: PreparedContainer): Promise<void> {
  throw new LaminaError('ERUNTIME', `not yet: ${prepared.record.id}`);
}

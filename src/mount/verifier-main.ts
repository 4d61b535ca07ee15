/** The process that verifies a mount's layers in the background; started by `startVerifier`. */
import { runVerifier } from './verify.js';
import type { VerifyJob } from './verify.js';

await runVerifier(JSON.parse(process.argv[2]!) as VerifyJob);

/** Names and numbers of signals, as `kill -s`, STOPSIGNAL and `docker kill` take them. */
import os from 'node:os';
import { LaminaError } from '../errors.js';

/** `TERM`, `SIGTERM`, `15`, `RTMIN+3`. Raises EUSAGE. */
export function signalNumber(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, '');
  if (/^\d+$/.test(name) && Number(name) >= 1 && Number(name) <= RTMAX) return Number(name);
  const known = os.constants.signals[`SIG${name}` as NodeJS.Signals] as number | undefined;
  if (known !== undefined) return known;
  const [, base, offset = '+0'] = /^(RTMIN|RTMAX)([+-]\d+)?$/.exec(name) ?? [];
  const realTime = base === undefined ? 0 : (base === 'RTMIN' ? RTMIN : RTMAX) + Number(offset);
  if (realTime >= RTMIN && realTime <= RTMAX) return realTime;
  throw new LaminaError('EUSAGE', `invalid signal: ${text}`, { hint: 'See signal(7) for their names.' });
}

/** glibc keeps two for itself. */
const RTMIN = 34;
const RTMAX = 64;

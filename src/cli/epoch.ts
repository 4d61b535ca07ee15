/** The time that everything made here is said to be from, when it is to be the same whenever it is made. */
import { LaminaError } from '../errors.js';

/** SOURCE_DATE_EPOCH in seconds (reproducible-builds.org/specs/source-date-epoch); undefined when it is not set. Raises EUSAGE. */
export function sourceDateEpoch(): number | undefined {
  const text = process.env.SOURCE_DATE_EPOCH;
  if (!text) return undefined;
  if (!/^\d{1,12}$/.test(text))
    throw new LaminaError('EUSAGE', `SOURCE_DATE_EPOCH is no number of seconds: "${text}"`);
  return Number(text);
}

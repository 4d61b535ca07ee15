/** Times for people, as docker prints them. */

/** How long ago (go-units, HumanDuration): `About an hour ago`. */
export function formatAge(thenMs: number, nowMs = Date.now()): string {
  return `${formatDuration(nowMs - thenMs)} ago`;
}

export function formatDuration(durationMs: number): string {
  const seconds = Math.floor(durationMs / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(durationMs / 3_600_000 + 0.5);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 14) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 60) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}

/** Local time in RFC 3339, whole seconds: `2021-03-04T03:24:42+01:00`. */
export function formatRfc3339(timeMs: number): string {
  const [day, clock, offset = ''] = formatLocalTime(timeMs).split(' ');
  return `${day}T${clock}${offset === '+0000' ? 'Z' : offset.replace(/(\d\d)$/, ':$1')}`;
}

/** Local time as Go's time.String prints whole seconds: `2021-03-04 03:24:42 +0100 CET`. */
export function formatLocalTime(timeMs: number): string {
  const date = new Date(timeMs);
  const two = (value: number): string => String(value).padStart(2, '0');
  const minutes = -date.getTimezoneOffset();
  const offset = `${minutes < 0 ? '-' : '+'}${two(Math.floor(Math.abs(minutes) / 60))}${two(Math.abs(minutes) % 60)}`;
  const day = `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${clock} ${offset} ${zoneName(date, minutes, offset)}`;
}

/** Each English locale knows the short names that its readers use; where none does, Go too prints the offset. */
function zoneName(date: Date, offsetMinutes: number, offset: string): string {
  if (offsetMinutes === 0 && [undefined, '', 'UTC'].includes(process.env['TZ'])) return 'UTC';
  for (const locale of ['en-US', 'en-GB', 'en-AU', 'en-IN', 'en-ZA', 'en-NZ']) {
    const parts = new Intl.DateTimeFormat(locale, { timeZoneName: 'short' }).formatToParts(date);
    const name = parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
    if (/^[A-Z]+$/.test(name)) return name;
  }
  return offset.replace(/00$/, '');
}

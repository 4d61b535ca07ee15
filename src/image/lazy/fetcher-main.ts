/** The fetcher as a program: its argument is the file of its job. */
import { readFileSync } from 'node:fs';
import { runFetcher } from './fetcher.js';
import type { FetchJob } from './job.js';

await runFetcher(JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as FetchJob);

/** What is used of undici: its own file in the build, so that commands that talk to nobody need not load it. */
export { Agent, ProxyAgent } from 'undici';
export type { Dispatcher } from 'undici';

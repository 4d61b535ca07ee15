/** Names of containers: adjective_name as docker makes them, and what docker lets people choose (daemon/names). */
import { randomInt } from 'node:crypto';
import { LaminaError } from '../errors.js';

const ADJECTIVES =
  `able agile amber ample apt autumn bold brave breezy bright brisk calm candid careful cheerful clear clever
cool cosy crisp curious daring deft eager early earnest easy fair famous fast fearless festive fond frank free fresh
friendly gallant gentle gifted glad golden good graceful grand great happy hardy honest hopeful humble jolly jovial
keen kind lively loyal lucid lucky mellow merry mild modest neat nimble noble patient peaceful placid plain pleasant
polite proud quick quiet rapid ready robust serene sharp silent silver simple sincere sleepy smart smooth snug sober
steady stoic strong sunny sure swift tender thankful tidy tranquil trusty upbeat useful vivid warm wary wise witty
young zealous zesty`.split(/\s+/);

const SURNAMES =
  `abel agnesi archimedes babbage banach bardeen bell bernoulli blackwell bohr boole borg bose brahmagupta
carson cantor cauchy cerf chandrasekhar clarke codd conway cray curie darwin dijkstra dirac easley einstein elion engelbart
erdos euclid euler faraday fermat fermi feynman fourier franklin galileo galois gauss germain goldwasser hamilton
hawking heisenberg hermann hertz hilbert hopper hypatia jennings johnson kalam kepler khayyam kilby knuth kovalevsky
lagrange lamarr lamport laplace leavitt leibniz lichterman liskov lovelace maxwell mayer mccarthy mendel mendeleev
mirzakhani morse napier neumann newton nightingale nobel noether noyce pascal pasteur perlman pike planck poincare
raman ramanujan ride ritchie roentgen rosalind rutherford sammet shannon shaw sinoussi sutherland swartz tesla
thompson torvalds turing varahamihira villani volta wescoff wiles wilson wozniak wright yalow yonath`.split(
    /\s+/,
  );

export function randomName(): string {
  return `${pick(ADJECTIVES)}_${pick(SURNAMES)}`;
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)]!;
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** A leading slash is docker's own spelling and left out. Raises EUSAGE. */
export function checkName(text: string): string {
  const name = text.replace(/^\//, '');
  if (NAME.test(name)) return name;
  throw new LaminaError(
    'EUSAGE',
    `Invalid container name (${text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    { hint: 'Give it at least two such characters.' },
  );
}

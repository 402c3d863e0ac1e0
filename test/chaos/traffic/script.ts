/**
 * **test/chaos/traffic/**: what is saved and read in a chaos run, and what was promised for it. What breaks meanwhile is in
 * `test/chaos/storm/`.
 */
import type { ChatInput, ReflectionInput } from '../../../producers/index.ts';
import { newChatJob, newReflectionJob } from '../../../producers/saving/new-job.ts';
import { randomOf, wholeFrom } from '../random.ts';
import { textOf } from './texts.ts';

/** How much is saved in a run. */
export interface ScriptSize {
  seed: string;
  turns: number;
  reflections: number;
  /** The number of turns that Supabase is made to refuse. */
  poison: number;
}

/** One thing that a producer saves, and how it saves it. Everything follows from the seed and the number. */
export type Line = {
  /** The place of the line in the script. */
  number: number;
  /** The time at which it is due, as a fraction of the duration of the script. */
  due: number;
  /** Whether the producer waits until the worker is through. */
  wait: boolean;
  /** Whether it is tried only once: then a save that fails is not repeated. */
  once: boolean;
  poison: boolean;
} & ({ kind: 'turn'; input: ChatInput } | { kind: 'reflection'; input: ReflectionInput });

/** A conversation with this in its id is refused by a constraint that the run adds to the table. */
export const POISON = 'poison';

/** This many lines are due at once, so that workers have much in hand when one is killed. */
const BURST = 80;
const START = Date.UTC(2025, 9, 19);
/** This many lines in a row have the same moment. They belong to many conversations, so each has a few of them. */
const TIED = 40;
const AHEAD_S = 100 * 365 * 86_400;

/**
 * What the producers save, line by line, in the order in which it is due. The producers and the audit make it from the same
 * seed.
 */
export class Script {
  readonly length: number;
  readonly #size: ScriptSize;
  readonly #conversations: number;

  constructor(size: ScriptSize) {
    this.#size = size;
    this.length = size.turns + size.reflections;
    this.#conversations = Math.max(12, Math.ceil(size.turns / 50));
  }

  line(number: number): Line {
    const { turns, reflections } = this.#size;
    const share = Math.max(1, Math.ceil(this.length / Math.max(1, reflections)));
    const isReflection = number % share === share - 1 && Math.floor(number / share) < reflections;
    const before = Math.min(reflections, Math.floor(number / share));
    // When the turns do not divide evenly, the reflections that are left come at the end.
    const line = isReflection || number - before >= turns ? this.#reflection(number) : this.#turn(number);
    return { ...line, number, due: (number - (number % BURST)) / this.length };
  }

  #turn(number: number): Omit<Line, 'number' | 'due'> & { kind: 'turn'; input: ChatInput } {
    const { seed, turns, poison: poisoned } = this.#size;
    const random = randomOf(`${seed} turn ${number}`);
    const every = Math.floor(turns / (poisoned + 1));
    const poison = poisoned > 0 && number > 0 && number % every === 0 && number / every <= poisoned;
    const wait = random() < 0.25;
    const once = random() < 0.1;
    const important = random() < 0.03;
    return {
      kind: 'turn',
      wait: wait && !poison,
      once: once && !poison,
      poison,
      input: {
        contextId: poison ? this.#contextId(POISON) : this.#conversation(random()),
        userId: `user ${wholeFrom(1, 40, random)}`,
        userMessage: textOf(seed, `question ${number}`),
        assistantMessage: textOf(seed, `answer ${number}`),
        createdAt: momentOf(number, random()),
        idempotencyKey: `turn ${number}`,
        ...(important && !poison && { important }),
      },
    };
  }

  #reflection(number: number): Omit<Line, 'number' | 'due'> & { kind: 'reflection'; input: ReflectionInput } {
    const { seed } = this.#size;
    const random = randomOf(`${seed} reflection ${number}`);
    return {
      kind: 'reflection',
      wait: random() < 0.25,
      once: false,
      poison: false,
      input: {
        contextId: this.#conversation(random()),
        userId: `user ${wholeFrom(1, 40, random)}`,
        reflectionText: textOf(seed, `reflection ${number}`),
        visibility: random() < 0.5 ? 'public' : 'private',
        createdAt: momentOf(number, random()),
        idempotencyKey: `reflection ${number}`,
      },
    };
  }

  /**
   * Chooses a conversation unevenly: the liveliest of a hundred gets a fifth of everything, and half of them get hardly
   * anything.
   */
  #conversation(pick: number): string {
    return this.#contextId(String(Math.floor(this.#conversations * pick ** 3)));
  }

  #contextId(name: string): string {
    return `chaos ${this.#size.seed} 對話 ${name}`;
  }
}

/**
 * Up to a dozen share a moment, so that their ids decide. A few come late, with a time long before their neighbours'; a few
 * are from a clock that is ahead; some have microseconds, and some are written with the offset of a zone.
 */
function momentOf(number: number, pick: number): string {
  const late = pick < 0.03 ? Math.floor(pick * 100 * 900) : 0;
  const ahead = pick > 0.998 ? AHEAD_S : 0;
  const at = START + 1_000 * (Math.floor(number / TIED) - late + ahead);
  if (pick > 0.9 && pick < 0.95) return new Date(at).toISOString().replace('Z', '999Z');
  if (pick > 0.85 && pick <= 0.9) return new Date(at + 8 * 3_600_000).toISOString().replace('Z', '+08:00');
  return new Date(at).toISOString();
}

/** Returns the id that Mnemoq gives to a line, whoever saves it and however often. */
export function idOf(line: Line): string {
  return line.kind === 'turn' ? newChatJob(line.input).id : newReflectionJob(line.input).id;
}

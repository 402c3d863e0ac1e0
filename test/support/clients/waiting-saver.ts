/** A program that saves a turn, waits for it, and ends with 0 however that ended. */
import { MemoryCore } from '../../../producers/index.ts';
import { turn } from '../inputs/turns.ts';

const memory = new MemoryCore(process.env);
await memory.saveChat(turn(process.argv[2] ?? '', 1), { wait: 500 }).catch(() => undefined);
await memory.close();

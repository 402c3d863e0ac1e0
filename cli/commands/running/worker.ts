import { Argument, Command } from 'commander';
import { readEnvironment } from '../../../shared/settings/environment.ts';
import { OPTIONAL_WORKER_KINDS, WORKER_KINDS, type WorkerKind } from '../../../workers/kinds.ts';
import { startWorker } from '../../../workers/worker.ts';
import { EXIT } from '../../terminal/exit.ts';
import { endTraceExport } from '../../process/trace-export.ts';
import { tellParent, untilSignal } from '../../process/until-signal.ts';

export function workerCommand(): Command {
  return new Command('worker')
    .description('run one worker until SIGTERM or Ctrl-C; configured by the environment')
    .addArgument(new Argument('<kind>', 'which queue to work on').choices([...WORKER_KINDS, ...OPTIONAL_WORKER_KINDS]))
    .addHelpText(
      'after',
      '\nEnds with 1 when jobs were still in hand after MEMORY_SHUTDOWN_TIMEOUT_MS; they go back to their queue.' +
        '\nA second signal ends it at once.',
    )
    .action(async (kind: WorkerKind) => {
      const signal = untilSignal();
      const worker = await Promise.race([startWorker(kind, readEnvironment()), signal]);
      if (typeof worker === 'string') process.exit(EXIT.ok); // it still waits for Redis, so it has begun no job
      tellParent({ kind });
      await signal;
      const left = await worker.stop();
      await endTraceExport();
      process.exit(left.length === 0 ? EXIT.ok : EXIT.failed);
    });
}

import { Command } from 'commander';
import { startDashboard } from '../../producers/dashboard/dashboard.ts';
import { readEnvironment } from '../../shared/config.ts';
import { say } from '../output.ts';
import { tellParent, untilSignal } from '../until-signal.ts';

export function dashboardCommand(): Command {
  return new Command('dashboard')
    .description('Bull Board for all queues, behind basic authentication: any name of MEMORY_API_KEYS with its secret')
    .action(async () => {
      const signal = untilSignal();
      const dashboard = await startDashboard(readEnvironment());
      if (!process.connected) say(`dashboard at ${dashboard.url}; Ctrl-C stops it`);
      tellParent({ url: dashboard.url });
      await signal;
      await dashboard.stop();
    });
}

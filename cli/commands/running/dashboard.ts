import { Command } from 'commander';
import { startDashboard } from '../../../doors/dashboard/dashboard.ts';
import { readEnvironment } from '../../../shared/settings/environment.ts';
import { say } from '../../terminal/output.ts';
import { tellParent, untilSignal } from '../../process/until-signal.ts';

export function dashboardCommand(): Command {
  return new Command('dashboard')
    .description(
      'the memory page, and Bull Board for all queues at /queues: asks for a name and secret of MEMORY_API_KEYS',
    )
    .addHelpText(
      'after',
      '\nThe page needs SUPABASE_URL and its key (MEMORY_ENCRYPTION_KEYS and IPFS_API_URL for what is encrypted and pinned);' +
        '\nwithout them there are only the queues. A key bound to a user sees what is theirs, and no queues.' +
        '\nMEMORY_DASHBOARD_READ_ONLY=true switches every action off, MEMORY_DASHBOARD_SHOW_TEXT=true shows the texts of jobs.' +
        '\nSIGHUP reads MEMORY_API_KEYS anew.',
    )
    .action(async () => {
      const signal = untilSignal();
      const dashboard = await startDashboard(readEnvironment());
      process.on('SIGHUP', () => dashboard.reloadKeys(readEnvironment));
      const { url, queuesUrl } = dashboard;
      if (!process.connected) say(`memory page at ${url}, queues at ${queuesUrl}; Ctrl-C stops it`);
      tellParent({ url, queuesUrl });
      await signal;
      await dashboard.stop();
    });
}

import { Command } from 'commander';
import { startApi } from '../../../doors/http/server.ts';
import { readEnvironment } from '../../../shared/settings/environment.ts';
import { say, sayColors } from '../../terminal/output.ts';
import { tellParent, untilSignal } from '../../process/until-signal.ts';
import { readPackage } from '../../process/package.ts';

export function apiCommand(): Command {
  return new Command('api')
    .description('the HTTP API until SIGTERM or Ctrl-C, with its documentation at /docs')
    .addHelpText(
      'after',
      '\nMEMORY_API_KEYS, SUPABASE_JWT_SECRET and SUPABASE_JWKS_URL say who may use it; without any it takes requests of this' +
        '\nmachine only. SIGHUP makes it read the keys anew.',
    )
    .action(async () => {
      const signal = untilSignal();
      const api = await startApi(readEnvironment(), readPackage().version);
      process.on('SIGHUP', () => api.reloadKeys(readEnvironment));
      if (!process.connected) say(`HTTP API at ${api.url}, documentation at ${api.url}/docs; Ctrl-C stops it`);
      if (api.open) say(sayColors.yellow('no keys are set: it takes requests of this machine only, and all of them'));
      tellParent({ url: api.url });
      await signal;
      await api.stop();
    });
}

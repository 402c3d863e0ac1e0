// Whoever imports `bullmq` after this gets the BullMQ of the judges' packages, wherever the importing file lies.
import { registerHooks } from 'node:module';

const judges = new URL('../package.json', import.meta.url).href;
registerHooks({
  resolve(specifier, context, next) {
    if (specifier !== 'bullmq') return next(specifier, context);
    process.stderr.write('bullmq 5\n');
    return next(specifier, { ...context, parentURL: judges });
  },
});

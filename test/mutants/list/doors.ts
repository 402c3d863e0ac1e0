import type { Mutant } from './mutant.ts';

const AUTH = 'doors/web/auth.ts';

/** Who gets in, and whose records a caller may ask about. */
export const DOORS: readonly Mutant[] = [
  {
    name: 'user-check-skipped',
    breaks: 'a key that is bound to one user cannot name another',
    file: AUTH,
    text: "if (userId !== caller.userId) throw new MnemoqError('forbidden', 'this key is bound to another user');",
    instead: '',
    caughtBy: 'test/doors/auth.test.ts',
    test: 'a service may name any user',
  },
  {
    name: 'any-key-is-good',
    breaks: 'only a secret that is known opens the door',
    file: AUTH,
    text: 'if (timingSafeEqual(digest, given)) caller = { name, userId };',
    instead: 'if (digest.length === given.length) caller = { name, userId };',
    caughtBy: 'test/doors/auth.test.ts',
    test: 'API keys',
  },
  {
    name: 'any-audience-is-good',
    breaks: 'a token that was made for something else is refused',
    file: AUTH,
    text: "audience: 'authenticated',\n",
    instead: '',
    caughtBy: 'test/doors/auth.test.ts',
    test: 'is refused',
  },
  {
    name: 'stranger-is-a-service',
    breaks: 'who is not known reaches no route',
    file: 'doors/web/guard.ts',
    text: 'request.caller = await authenticator.authenticate(request.headers.authorization, request.headers.host);',
    instead: `const known = await authenticator.authenticate(request.headers.authorization, request.headers.host);
    request.caller = known ?? { name: 'local', userId: null };`,
    caughtBy: 'test/http/authorization.test.ts',
    test: 'every operation is refused',
  },
  {
    name: 'users-are-services',
    breaks: 'what is for services is refused to a user',
    file: AUTH,
    text: "if (caller.userId !== null) throw new MnemoqError('forbidden', 'this is for service keys');",
    instead: '',
    caughtBy: 'test/http/authorization.test.ts',
    test: 'every operation works, but for those of services',
  },
];

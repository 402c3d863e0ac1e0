import { expect, test } from '@jest/globals';
import { isClusterUrl, parseClusterUrl } from '../../shared/settings/cluster-url.ts';

const NOBODY = { username: '', password: '', tls: false };

test.each([
  ['redis+cluster://a', { ...NOBODY, nodes: [{ host: 'a', port: 6379 }] }],
  ['redis+cluster://a:7000/', { ...NOBODY, nodes: [{ host: 'a', port: 7000 }] }],
  ['redis+cluster://:pw@a:1', { ...NOBODY, password: 'pw', nodes: [{ host: 'a', port: 1 }] }],
  [
    'rediss+cluster://me:p%40ss@a:7000,b,[::1]:7001',
    {
      username: 'me',
      password: 'p@ss',
      tls: true,
      nodes: [
        { host: 'a', port: 7000 },
        { host: 'b', port: 6379 },
        { host: '::1', port: 7001 },
      ],
    },
  ],
])('%s is a cluster', (url, address) => {
  expect(isClusterUrl(url)).toBe(true);
  expect(parseClusterUrl(url)).toEqual(address);
});

test.each([
  'redis+cluster://',
  'redis+cluster://a,',
  'redis+cluster://,a',
  'redis+cluster://a:x',
  'redis+cluster://a/0',
  'redis+cluster://a?db=0',
  'redis+cluster://:%ff@a',
  'redis+cluster:a',
])('%s is the address of none', (url) => {
  expect(isClusterUrl(url)).toBe(true);
  expect(parseClusterUrl(url)).toBeNull();
});

test.each(['redis://a', 'rediss://a:7000', 'http://a', ' redis+cluster://a', ''])('%j is not meant as one', (url) => {
  expect(isClusterUrl(url)).toBe(false);
  expect(parseClusterUrl(url)).toBeNull();
});

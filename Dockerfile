# syntax=docker/dockerfile:1

FROM node:24.21-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# Without install scripts: the only ones there are fetch a second Node.js and link a PostgreSQL for the tests.
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY cli cli
COPY doors doors
COPY embedded embedded
COPY producers producers
COPY shared shared
COPY workers workers
# npm prune leaves the compiler behind: a dependency names it as an optional peer, for its types only.
RUN npm run build \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/typescript node_modules/@typescript

FROM node:24.21-trixie-slim
LABEL org.opencontainers.image.title="Mnemoq" \
  org.opencontainers.image.description="Queue-driven memory for AI agent systems" \
  org.opencontainers.image.licenses="MIT"
# Workers, the HTTP API and the dashboard answer health questions at this port; inside the container only, unless MEMORY_HEALTH_HOST says otherwise.
# A compile cache would lie in /tmp, which is memory and forgotten when the container ends.
ENV NODE_ENV=production \
  NODE_DISABLE_COMPILE_CACHE=1 \
  MEMORY_HEALTH_PORT=8080
WORKDIR /app
# Everything belongs to root, so the user below can read and run it and nothing more.
COPY --chmod=644 package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# The image's `node` user, by number: Kubernetes' runAsNonRoot cannot check a name.
USER 1000:1000
STOPSIGNAL SIGTERM
# For workers, the HTTP API and the dashboard; other commands have no such answer.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.MEMORY_HEALTH_PORT + '/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/cli/main.js"]

#!/bin/sh
# As the image: as root it changes to the user `redis`, which needs capabilities; and its Redis is built with protected mode off.
set -e
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  chown -R redis /data
  exec setpriv --reuid=redis --regid=redis --clear-groups -- "$0" "$@"
fi
[ "$1" != redis-server ] || set -- "$@" --protected-mode no
exec "$@"

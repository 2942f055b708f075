#!/bin/bash
# Starts a class of Kafka's as the image's script of this name does: what it writes, and which variables it reads, are the same.
base=$(dirname "$0")/..
: "${LOG_DIR:=$base/logs}"
[ -d "$LOG_DIR" ] || mkdir -p "$LOG_DIR"
: "${KAFKA_LOG4J_OPTS:=-Dlog4j2.configurationFile=$base/config/tools-log4j2.yaml}"
if [ "$1" = -name ]; then
  shift 2
fi
if [ "$1" = -loggc ]; then
  shift
  gc="-Xlog:gc*:file=$LOG_DIR/kafkaServer-gc.log:time,tags:filecount=10,filesize=100M"
fi
exec java ${KAFKA_HEAP_OPTS:--Xmx256M} ${gc:-} "-Dkafka.logs.dir=$LOG_DIR" $KAFKA_LOG4J_OPTS ${KAFKA_OPTS:-} -cp "$base/libs/*" "$@"

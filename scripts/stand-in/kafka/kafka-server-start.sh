#!/bin/bash
export KAFKA_LOG4J_OPTS="-Dlog4j2.configurationFile=$(dirname "$0")/../config/log4j2.yaml"
exec "$(dirname "$0")/kafka-run-class.sh" ${EXTRA_ARGS--name kafkaServer -loggc} kafka.Kafka "$@"

/* Made by `python -m greentrace.events --c`; a test remakes it. Do not edit. */
#ifndef GREENTRACE_EVENTS_H
#define GREENTRACE_EVENTS_H

#define GT_VERSION 1

#define GT_SPAWN 1
#define GT_START 2
#define GT_SWITCH 3
#define GT_THROW 4
#define GT_FINISH 5
#define GT_COLLECT 6
#define GT_NAME 7
#define GT_HUB 8
#define GT_PARK 10
#define GT_WAKE 11
#define GT_RESOURCE 20
#define GT_ACQUIRE 21
#define GT_RELEASE 22
#define GT_PUT 23
#define GT_GET 24
#define GT_SET 25
#define GT_CLEAR 26
#define GT_DISPOSE 27
#define GT_POLL_BEGIN 30
#define GT_POLL_END 31
#define GT_FD_ADD 32
#define GT_FD_REMOVE 33
#define GT_FD_READY 34
#define GT_FD_OPEN 35
#define GT_FD_CLOSE 36
#define GT_TIMER_ADD 40
#define GT_TIMER_CANCEL 41
#define GT_TIMER_FIRE 42
#define GT_CALLBACK 43
#define GT_THREAD 50
#define GT_FORK 51
#define GT_PATCH 52
#define GT_MARK 53
#define GT_ERROR 54
#define GT_HOG 55
#define GT_TRIGGER 56
#define GT_KEYFRAME 60
#define GT_STATE 61
#define GT_GAP 62
#define GT_DISPLACED 63
#define GT_OVERHEAD 64

#define GT_STATE_UNKNOWN 0
#define GT_STATE_CREATED 1
#define GT_STATE_RUNNING 2
#define GT_STATE_RUNNABLE 3
#define GT_STATE_PARKED 4
#define GT_STATE_FINISHED 5
#define GT_STATE_COLLECTED 6

#define GT_HOW_RETURNED 0
#define GT_HOW_EXCEPTION 1
#define GT_HOW_KILLED 2
#define GT_HOW_UNKNOWN 3

#define GT_OP_WAIT 0
#define GT_OP_ACQUIRE 1
#define GT_OP_READ 2
#define GT_OP_WRITE 3
#define GT_OP_GET 4
#define GT_OP_PUT 5
#define GT_OP_JOIN 6
#define GT_OP_SLEEP 7
#define GT_OP_READWRITE 8
#define GT_OP_SWITCH 9

#define GT_WAKER_UNKNOWN 0
#define GT_WAKER_GREENLET 1
#define GT_WAKER_TIMER 2
#define GT_WAKER_FD 3
#define GT_WAKER_THREAD 4
#define GT_WAKER_CALLBACK 5
#define GT_WAKER_PROCESS 6
#define GT_WAKER_SIGNAL 7

#define GT_MODE_READ 1
#define GT_MODE_WRITE 2
#define GT_MODE_READWRITE 3

#define GT_KIND_UNKNOWN 0
#define GT_KIND_SWITCH 1
#define GT_KIND_SLEEP 2
#define GT_KIND_LOCK 3
#define GT_KIND_SEMAPHORE 4
#define GT_KIND_RLOCK 5
#define GT_KIND_EVENT 6
#define GT_KIND_RESULT 7
#define GT_KIND_QUEUE 8
#define GT_KIND_GREENLET 9
#define GT_KIND_FD 10
#define GT_KIND_POOL 11
#define GT_KIND_CONDITION 12
#define GT_KIND_CHANNEL 13
#define GT_KIND_THREAD 14
#define GT_KIND_PROCESS 15
#define GT_KIND_SIGNAL 16
#define GT_KIND_CALLBACK 17
#define GT_KIND_BARRIER 18

#define GT_FLAG_KEY 128
#define GT_FLAG_INFERRED 64
#define GT_RESOURCE_UNKNOWN 0
#define GT_RESOURCE_SWITCH 1
#define GT_RESOURCE_SLEEP 2
#define GT_FIRST_RESOURCE 16
#define GT_RESOURCE_SIGNAL 32
#define GT_RELEASE_FOREIGN 1
#define GT_TIMER_THROWS 1
#define GT_TIMER_CALLS 2
#define GT_NAME_GIVEN 1
#define GT_KEYFRAME_BEGIN 1
#define GT_KEYFRAME_END 2
#define GT_KEYFRAME_PARTIAL 4

#endif

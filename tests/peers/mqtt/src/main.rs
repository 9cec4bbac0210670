//! Publishes messages to a broker, and checks that they come back as they were and in order. Prints
//! how many bytes that were.

use std::env;

use real_peers::{assert_same, message};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, Transport};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = env::args().collect();
    let [_, url, count] = &arguments[..] else { panic!("wants a URL and a number of messages") };
    let count = count.parse().unwrap();
    let mut options = MqttOptions::new("rumqttc", url, 0); // the port is in the URL
    options.set_transport(Transport::Ws);
    options.set_max_packet_size(1024 * 1024, 1024 * 1024);
    let (client, mut events) = AsyncClient::new(options, 10);
    tokio::spawn(publish(client, count));

    let (mut received, mut acknowledged, mut bytes) = (0, 0, 0);
    while received < count || acknowledged < count {
        // rumqttc would connect again at the next poll
        match events.poll().await.expect("the connection failed") {
            Event::Incoming(Packet::Publish(publish)) => {
                assert_same(&publish.payload, &message(received));
                received += 1;
                bytes += publish.payload.len();
            }
            Event::Incoming(Packet::PubAck(_)) => acknowledged += 1,
            _ => {}
        }
    }
    println!("{bytes}");
}

async fn publish(client: AsyncClient, count: u64) {
    client.subscribe(TOPIC, QoS::AtLeastOnce).await.unwrap();
    for index in 0..count {
        client.publish(TOPIC, QoS::AtLeastOnce, false, message(index)).await.unwrap();
    }
}

const TOPIC: &str = "numbered";
